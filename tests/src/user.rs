//! Work as another user than root.

/// Runs on a thread of this name as this user. Other threads stay as they are.
///
/// # Panics
/// Without root.
pub fn as_user<T: Send>(name: &str, uid: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, || {
            // SAFETY: the system call itself, of which only this thread's users change.
            let set = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
            assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
            work()
        });
        let done = thread.map(std::thread::ScopedJoinHandle::join);
        match done {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => panic!("no thread can be had: {error}"),
        }
    })
}
