//! Limits of the process, and the user that it runs as. For [`child`](crate::child) processes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets the soft limit, and leaves the hard one. Returns the old soft limit.
///
/// # Panics
///
/// If the kernel refuses.
pub fn set_soft(resource: Resource, limit: Option<u64>) -> Option<u64> {
    let before = getrlimit(resource);
    let wanted = Rlimit { current: limit, maximum: before.maximum };
    setrlimit(resource, wanted).expect("a soft limit below the hard one");
    before.current
}

/// Makes the calling thread an ordinary user's, without any capability.
///
/// # Errors
///
/// Why it cannot, if it was not root's.
pub fn become_ordinary_user(id: u32) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (gid, uid) = (rustix::fs::Gid::from_raw(id), rustix::fs::Uid::from_raw(id));
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid))
        .map_err(|errno| format!("setresuid: {errno}"))
}
