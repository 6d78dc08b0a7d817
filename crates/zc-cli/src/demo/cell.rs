//! What is compared with what.

use std::fmt;

/// What carries an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

/// What receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Std,
    Zc,
}

impl Transport {
    pub(crate) const ALL: [Transport; 2] = [Transport::Tcp, Transport::Unix];

    /// Its name in JSON.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Unix => "unix",
        }
    }
}

impl Method {
    pub(crate) const ALL: [Method; 2] = [Method::Std, Method::Zc];

    /// Its name in JSON.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Method::Std => "std",
            Method::Zc => "zc",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Transport::Tcp => "TCP",
            Transport::Unix => "Unix",
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Method::Std => "std::io::copy",
            Method::Zc => "zc",
        })
    }
}
