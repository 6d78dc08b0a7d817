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
    /// A plain loop of reads and writes.
    Loop,
    /// Go's `io.Copy`.
    Go,
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
    /// All that are compared. zc comes last, for the others to be seen before it.
    pub(crate) fn all(with_go: bool) -> impl Iterator<Item = Method> {
        let all = [Method::Std, Method::Loop, Method::Go, Method::Zc];
        all.into_iter().filter(move |&method| with_go || method != Method::Go)
    }

    /// Its name in JSON.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Method::Std => "std",
            Method::Loop => "loop",
            Method::Go => "go",
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
            Method::Loop => "a 64 KiB loop",
            Method::Go => "Go's io.Copy",
            Method::Zc => "zc",
        })
    }
}
