//! What objects have in common: the entry points of packets, and what the kernel and the compiler ask of each object.

/// The entry points of packets, for those of interfaces with Ethernet frames and with bare IP packets (tun, WireGuard, PPP).
/// The ordinary object and the tracing one have the same, so that either takes the place of the other.
#[macro_export]
macro_rules! packet_programs {
    () => {
        /// What leaves by an interface with Ethernet frames.
        #[aya_ebpf::macros::classifier]
        pub fn egress(context: aya_ebpf::programs::TcContext) -> i32 {
            $crate::hooks::tc_code($crate::judge::judge(Hook::Egress, Link::Ethernet, &context))
        }

        /// What leaves by an interface with bare IP packets.
        #[aya_ebpf::macros::classifier]
        pub fn egress_raw(context: aya_ebpf::programs::TcContext) -> i32 {
            $crate::hooks::tc_code($crate::judge::judge(Hook::Egress, Link::Raw, &context))
        }

        /// What comes in by an interface with Ethernet frames.
        #[aya_ebpf::macros::xdp(frags)]
        pub fn ingress(context: aya_ebpf::programs::XdpContext) -> u32 {
            $crate::hooks::xdp_code($crate::judge::judge(Hook::Ingress, Link::Ethernet, &context))
        }

        /// What comes in by an interface with bare IP packets.
        #[aya_ebpf::macros::xdp(frags)]
        pub fn ingress_raw(context: aya_ebpf::programs::XdpContext) -> u32 {
            $crate::hooks::xdp_code($crate::judge::judge(Hook::Ingress, Link::Raw, &context))
        }
    };
}

/// The licence that the kernel asks for, as some helpers are for GPL-compatible programs only, and the panic handler.
#[macro_export]
macro_rules! object_parts {
    () => {
        /// The licence that the kernel asks for.
        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

        #[cfg(not(test))]
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            // The verifier refuses a program in which this loop can be reached.
            loop {}
        }
    };
}
