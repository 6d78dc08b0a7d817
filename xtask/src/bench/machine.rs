//! The machine that the figures were taken on.

use std::process::Command;

/// Machine, kernel and versions, a line each.
pub(crate) fn describe(go: Option<&str>) -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into());
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    vec![
        format!("{cpus} processors ({model}), {memory} of memory"),
        format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        first_line("rustc", &["--version"]),
        go.map_or("Go: left out, no toolchain given".to_owned(), |go| format!("Go {go}")),
        format!("zc {}", first_line("git", &["describe", "--always", "--dirty"])),
    ]
}

fn first_line(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    let out = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    out.lines().next().unwrap_or("unknown").to_owned()
}
