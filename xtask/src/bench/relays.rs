//! Targets of zc's relay, relative to its peers.

use super::samples::{Cell, Metric, Run};
use super::target::{Most, target_of};

/// The most CPU time and memory, relative to one peer.
struct Target {
    base: &'static str,
    bulk: f64,
    coalescing: Option<f64>,
    requests: f64,
    churn: f64,
    idle: f64,
    beside: f64,
}

const TARGETS: [Target; 5] = [
    Target {
        base: "tokio-8K",
        bulk: 0.30,
        coalescing: None,
        requests: 0.70,
        churn: 1.00,
        idle: 0.2,
        beside: 0.3,
    },
    Target {
        base: "tokio-64K",
        bulk: 0.50,
        coalescing: None,
        requests: 0.90,
        churn: 0.85,
        idle: 0.05,
        beside: 0.6,
    },
    Target {
        base: "splice2",
        bulk: 1.05,
        coalescing: Some(0.85),
        requests: 0.80,
        churn: 0.85,
        idle: 1.05,
        beside: 0.3,
    },
    Target {
        base: "go",
        bulk: 0.75,
        coalescing: None,
        requests: 0.70,
        churn: 0.75,
        idle: 0.3,
        beside: 0.25,
    },
    Target {
        base: "haproxy*",
        bulk: 1.05,
        coalescing: Some(0.85),
        requests: 0.85,
        churn: 0.95,
        idle: 1.05,
        beside: 0.4,
    },
];

/// The most of other figures, whatever the peers.
const CALLS: f64 = 4.5;
const LONGEST_POLL: f64 = 1000.0;
const DRAIN: f64 = 1.1;
const THROUGHPUT: f64 = 0.95;

/// Each target, whether it is met, and the cells that do not meet it. Nothing if no relay was measured.
pub(super) fn verdicts(run: &Run) -> Vec<String> {
    let is = |load: &'static str| move |cell: &Cell| cell.name.starts_with(load);
    if !run.cells.iter().any(is("relay-")) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for target in &TARGETS {
        let base = target.base;
        let mut cpu = |what: &str, who, most, load| {
            let what = format!("{base}, relay, {what}: CPU");
            let most = Most::Times(most);
            out.push(target_of(run, &what, (who, base), Metric::Cpu, most, is(load)));
        };
        cpu("bulk", "zc", target.bulk, "relay-bulk/");
        if let Some(most) = target.coalescing {
            cpu("bulk, coalescing", "zc-coalesce", most, "relay-bulk/");
        }
        cpu("requests", "zc", target.requests, "relay-requests/");
        cpu("requests, with a timeout", "zc-timed", target.requests, "relay-requests/");
        cpu("churn", "zc", target.churn, "relay-churn/");
        cpu("download beside stalled", "zc", target.beside, "relay-beside/");
        if base == "splice2" {
            cpu("draining stalled", "zc", DRAIN, "relay-drain/");
        }
        let ratio = run
            .cells
            .iter()
            .find(|cell| is("relay-idle/")(cell))
            .and_then(|cell| cell.figure_ratio("zc", base, "resident KiB/connection"));
        out.push(held(&format!("{base}, relay, idle: memory, in parts"), ratio, target.idle));
    }
    for cell in run.cells.iter().filter(|cell| is("relay-bulk/")(cell)) {
        let time = |name| Some(cell.subject(name)?.time(Metric::Wall)?.median);
        let peers = cell.subjects().into_iter().filter(|peer| !peer.name.starts_with("zc"));
        let best = peers.filter_map(|peer| peer.time(Metric::Wall)).map(|time| time.median);
        let ratio = best.reduce(f64::min).and_then(|best| Some(time("zc")? / best));
        let what = format!("the best peer, {}: time, in parts", cell.name);
        out.push(held(&what, ratio, 1.0 / THROUGHPUT));
    }
    for (who, load, what, most) in [
        ("zc", "relay-requests/", "system calls/request", CALLS),
        ("zc-timed", "relay-requests/", "system calls/request", CALLS),
        ("zc", "relay-polls/", "longest poll µs", LONGEST_POLL),
    ] {
        let cell = run.cells.iter().find(|cell| is(load)(cell));
        let figure = cell.and_then(|cell| cell.subject(who)?.figure(what));
        out.push(held(&format!("{who}, {what}"), figure.map(|figure| figure.median), most));
    }
    out
}

fn held(what: &str, figure: Option<f64>, most: f64) -> String {
    match figure {
        None => format!("{what}: not measured"),
        Some(figure) if figure <= most => format!("met: {what} at most {most:.2}: {figure:.2}"),
        Some(figure) => format!("NOT MET: {what} at most {most:.2}: {figure:.2}"),
    }
}
