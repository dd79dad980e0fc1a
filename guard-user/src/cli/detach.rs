//! `borderguard detach`: removes everything from the kernel. Nothing is guarded from then on.
