//! `zc demo`: the same uploads with `std::io::copy`, a loop, zc, and Go if there is a toolchain, side by side.

mod cell;
mod chart;
mod destination;
mod figures;
mod go;
mod pattern;
mod sender;
mod upload;

use std::io::{self, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::args::{Demo, DemoSender};
use crate::error::Failure;
use crate::output::{self, print_json};
use crate::say::say;
use cell::{Method, Transport};
use destination::Destination;
use figures::{Cell, Figures, Findings, Run};
use go::Go;

/// About how many bytes all uploads of a method and transport bring together: enough for steady
/// figures, and done in seconds.
const VOLUME: u64 = 3 << 30;

/// More rounds than this add nothing.
const MAX_ROUNDS: u64 = 5;

/// Runs the demo and prints what came out.
pub(crate) fn run(args: &Demo) -> ExitCode {
    match compare(args) {
        Ok(findings) if args.json => {
            print_json(&to_json(&findings), false);
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            let print = || {
                output::check_stdout()?;
                write!(io::stdout(), "{}", chart::draw(&findings))
            };
            output::silent("demo", &output::printed(print()))
        }
        Err(failure) => {
            if args.json {
                let object = json!({
                    "ok": false,
                    "exit": failure.exit,
                    "command": "demo",
                    "error": failure.to_string(),
                });
                print_json(&object, false);
            } else {
                say(format_args!("zc demo: {failure}"));
            }
            failure.exit.into()
        }
    }
}

/// The sending process of one upload.
pub(crate) fn sender(args: &DemoSender) -> ExitCode {
    match sender::send(args.size, args.seed) {
        Ok(()) => ExitCode::SUCCESS,
        // The receiver sees the connection break off, and is the one to report it.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Makes all uploads, taking turns, so that other load on the machine falls on all alike.
fn compare(args: &Demo) -> Result<Findings, Failure> {
    let size = args.size;
    let rounds = rounds(size);
    let destination = Destination::new(args.dir.as_deref(), size)?;
    let go = args.go.as_deref().map(Go::build).transpose()?;
    let methods: Vec<Method> = Method::all(go.is_some()).collect();
    let bar = bar(methods.len(), rounds);
    let mut seeds = 1..;
    let mut seed = || seeds.next().expect("no end of seeds");

    let mut cells = Vec::new();
    for transport in Transport::ALL {
        let mut runs = vec![Vec::<Run>::new(); methods.len()];
        for _ in 0..rounds {
            for (&method, runs) in methods.iter().zip(&mut runs) {
                bar.set_message(format!("{transport}, {method}"));
                let by = (method, go.as_ref());
                runs.push(upload::timed(transport, by, &destination.file, size, seed())?);
                bar.inc(1);
            }
        }
        bar.set_message(format!("{transport}, counting calls"));
        let counted = upload::counted(transport, &destination.file, size, seed())?;
        bar.inc(1);
        for (&method, runs) in methods.iter().zip(runs) {
            let figures = Figures::of(&runs, counted);
            cells.push(Cell { transport, method, figures });
        }
    }
    bar.finish_and_clear();
    let Destination { directory, file_system, .. } = destination;
    Ok(Findings { size, rounds, directory, file_system, cells })
}

/// An odd number, so that there is a round in the middle.
fn rounds(size: u64) -> usize {
    let rounds = (VOLUME / size).clamp(1, MAX_ROUNDS);
    (rounds - (rounds + 1) % 2) as usize
}

fn bar(methods: usize, rounds: usize) -> ProgressBar {
    let steps = Transport::ALL.len() * (methods * rounds + 1);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}");
    ProgressBar::new(steps as u64).with_style(style.expect("a valid template"))
}

fn to_json(findings: &Findings) -> Value {
    let results: Vec<Value> = findings
        .cells
        .iter()
        .map(|Cell { transport, method, figures }| {
            json!({
                "transport": transport.id(),
                "method": method.id(),
                "seconds": figures.seconds,
                "bytes_per_second": (findings.size as f64 / figures.seconds) as u64,
                "cpu_seconds": figures.cpu_seconds,
                "calls": figures.calls,
            })
        })
        .collect();
    json!({
        "ok": true,
        "exit": 0,
        "command": "demo",
        "error": null,
        "size": findings.size,
        "rounds": findings.rounds,
        "file_system": findings.file_system,
        // An upload that differs from what was sent fails the demo.
        "verified": true,
        "results": results,
    })
}
