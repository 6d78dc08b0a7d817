//! What is said of a connection that has ended.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use zc_tokio::{Error, Mechanism, Relay};

use crate::errno;
use crate::error::one_line;

/// A connection that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) peer: String,
    pub(crate) target: String,
    pub(crate) counts: (u64, u64),
    pub(crate) lasted: Duration,
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) how: How,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum How {
    Closed,
    Stopped(Error),
    /// The relay was told to stop, and did not wait any longer.
    Aborted,
    /// The target was not reached.
    Unconnected(io::Error),
}

impl How {
    fn name(&self) -> &'static str {
        match self {
            How::Closed => "closed",
            How::Unconnected(_) => "connect",
            How::Aborted => "aborted",
            How::Stopped(error) if error.is_timeout() => "timeout",
            How::Stopped(error) if error.is_disconnect() => "reset",
            How::Stopped(_) => "error",
        }
    }

    fn message(&self) -> Option<String> {
        match self {
            How::Closed => None,
            How::Stopped(error) => Some(stopped(error)),
            How::Aborted => Some("the relay was told to stop".into()),
            How::Unconnected(error) => Some(errno::explained(error)),
        }
    }
}

/// The direction, the side and the operation that failed, and why. How much was moved the line says anyway.
fn stopped(error: &Error) -> String {
    let direction = error.direction().map(|direction| format!("{direction}, ")).unwrap_or_default();
    let side = error.side().map(|side| format!("{side}, ")).unwrap_or_default();
    format!("{direction}{side}{}: {}", error.operation(), errno::explained(error.io_error()))
}

/// What moved most of its bytes.
pub(crate) fn mechanism(relay: &Relay) -> Option<Mechanism> {
    let (there, back) = relay.reports();
    let moved = |mechanism: &Mechanism| there.moved_by(*mechanism) + back.moved_by(*mechanism);
    Mechanism::ALL.into_iter().filter(|mechanism| moved(mechanism) > 0).max_by_key(moved)
}

/// Its line.
pub(crate) fn line(ended: &Ended, as_json: bool) -> String {
    let Ended { peer, target, counts: (up, down), lasted, mechanism, how } = ended;
    let (mechanism, seconds) =
        (mechanism.map(|mechanism| mechanism.to_string()), lasted.as_secs_f64());
    let message = how.message();
    if as_json {
        let object: Value = json!({
            "peer": peer, "target": target, "up": up, "down": down, "seconds": seconds,
            "mechanism": mechanism, "end": how.name(), "error": message,
        });
        object.to_string()
    } else {
        let by = mechanism.map_or(String::new(), |mechanism| format!(", {mechanism}"));
        let why = message.map_or(String::new(), |message| format!(": {message}"));
        let (how, target) = (how.name(), one_line(target));
        format!("{peer} {target} {up} up {down} down {seconds:.3} s{by}, {how}{why}")
    }
}
