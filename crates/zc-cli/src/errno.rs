//! What error numbers are called.

use std::io;

use rustix::io::Errno;

macro_rules! names {
    ($($name:ident)*) => {
        /// The name of `errno`, such as `"ECONNRESET"`, if it is one that copies meet.
        pub(crate) fn name(errno: i32) -> Option<&'static str> {
            Some(match Errno::from_raw_os_error(errno) {
                Errno::ACCESS => "EACCES",
                $(Errno::$name => concat!("E", stringify!($name)),)*
                _ => return None,
            })
        }
    };
}

names! {
    PERM NOENT INTR IO NXIO BADF AGAIN NOMEM FAULT BUSY EXIST XDEV NODEV NOTDIR ISDIR INVAL NFILE
    MFILE TXTBSY FBIG NOSPC SPIPE ROFS MLINK PIPE NAMETOOLONG NOSYS LOOP OVERFLOW NOTSOCK
    AFNOSUPPORT OPNOTSUPP ADDRINUSE ADDRNOTAVAIL NETDOWN NETUNREACH CONNABORTED CONNRESET NOBUFS
    ISCONN NOTCONN TIMEDOUT CONNREFUSED HOSTUNREACH STALE DQUOT CANCELED
}

/// What the system says about `errno`: `"Connection reset by peer"`.
pub(crate) fn text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.rsplit_once(" (os error") {
        Some((text, _)) => text.into(),
        None => text,
    }
}

/// `errno` in a message: `"Connection reset by peer (ECONNRESET)"`.
pub(crate) fn show(errno: i32) -> String {
    match name(errno) {
        Some(name) => format!("{} ({name})", text(errno)),
        None => format!("{} (errno {errno})", text(errno)),
    }
}

/// The message of `error`, with the name if it is one of the system's.
pub(crate) fn explained(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), show)
}

#[cfg(test)]
mod tests {
    #[test]
    fn errnos_are_shown_with_their_names() {
        assert_eq!(super::show(104), "Connection reset by peer (ECONNRESET)");
        assert_eq!(super::show(13), "Permission denied (EACCES)");
        assert_eq!(super::show(61), "No data available (errno 61)");
    }
}
