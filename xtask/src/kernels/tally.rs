//! Counts what the tests printed.

use std::collections::BTreeSet;

/// One test program on one kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) program: String,
    /// Tests, or the explorer's schedules.
    pub(crate) passed: u32,
    /// The tests that failed.
    pub(crate) failed: BTreeSet<String>,
    /// Why tests skipped something.
    pub(crate) skipped: BTreeSet<String>,
    pub(crate) seconds: u32,
    /// Its exit status; 137 if it took too long.
    pub(crate) status: u8,
}

impl Run {
    /// Whether it ended, and nothing failed.
    pub(crate) fn is_ok(&self) -> bool {
        self.status == 0 && self.failed.is_empty() && self.passed > 0
    }
}

/// All runs on one kernel.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The kernel's own name, and where temporary files are.
    pub(crate) about: String,
    pub(crate) runs: Vec<Run>,
    /// What the kernel complained about.
    pub(crate) complaints: Vec<String>,
    /// Whether the last line has come.
    pub(crate) is_done: bool,
    current: Option<Run>,
}

/// The beginning of init.sh's own lines.
const OURS: &str = "zc-kernels: ";

impl Tally {
    /// Takes a line. Returns the program that has ended with it.
    pub(crate) fn line(&mut self, line: &str) -> Option<&Run> {
        if let Some(ours) = line.strip_prefix(OURS) {
            return self.ours(ours);
        }
        let run = self.current.as_mut()?;
        if let Some(why) = line.strip_prefix("skipped: ") {
            run.skipped.insert(why.to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            // `ok. 7 passed; 0 failed; …`
            let mut words = counts.split(' ');
            run.passed = words.nth(1).and_then(|count| count.parse().ok()).unwrap_or(0);
        } else if let Some((schedules, rest)) = line.split_once(" schedules, ") {
            // The explorer: `7 schedules, 9 faults injected, 0 scenarios failed, …`
            run.passed = schedules.parse().unwrap_or(0);
            let failed = rest.split(", ").nth(1).filter(|failed| !failed.starts_with("0 "));
            run.failed.extend(failed.map(str::to_owned));
        } else if let Some(test) = line.strip_prefix("test ")
            && let Some((name, "FAILED")) = test.split_once(" ... ")
        {
            run.failed.insert(name.to_owned());
        }
        None
    }

    fn ours(&mut self, line: &str) -> Option<&Run> {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "begin" => self.current = Some(Run { program: rest.to_owned(), ..Run::default() }),
            "end" => {
                let mut run = self.current.take()?;
                let mut figures = rest.split(' ').skip(1);
                run.status =
                    figures.next().and_then(|figure| figure.parse().ok()).unwrap_or(u8::MAX);
                run.seconds = figures.next().and_then(|figure| figure.parse().ok()).unwrap_or(0);
                self.runs.push(run);
                return self.runs.last();
            }
            "kernel" => self.complaints.push(rest.to_owned()),
            "done" => self.is_done = true,
            _ => self.about = line.to_owned(),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        for line in text.lines() {
            tally.line(line);
        }
        tally
    }

    #[test]
    fn counts_what_passed_failed_and_skipped() {
        let tally = tally(
            "zc-kernels: Linux 6.1.0, temporary files in /disk\n\
             zc-kernels: begin ways::devices\n\
             test one ... ok\n\
             test two ... FAILED\n\
             skipped: xfs: no such device\n\
             skipped: xfs: no such device\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
             zc-kernels: end ways::devices 101 7\n\
             zc-kernels: done",
        );
        assert!(tally.is_done);
        assert_eq!(tally.about, "Linux 6.1.0, temporary files in /disk");
        let [run] = &tally.runs[..] else { panic!("{tally:?}") };
        assert_eq!((run.program.as_str(), run.passed, run.seconds), ("ways::devices", 1, 7));
        assert_eq!(run.failed, BTreeSet::from(["two".to_owned()]));
        assert_eq!(run.skipped, BTreeSet::from(["xfs: no such device".to_owned()]));
        assert!(!run.is_ok());
    }

    #[test]
    fn a_program_that_was_killed_or_ran_no_test_is_no_success() {
        let killed = tally("zc-kernels: begin a\ntest one ... ok\nzc-kernels: end a 137 600");
        assert!(!killed.runs[0].is_ok() && !killed.is_done);
        let empty = tally(
            "zc-kernels: begin a\n\
             test result: ok. 0 passed; 0 failed; 0 ignored\n\
             zc-kernels: end a 0 0",
        );
        assert!(!empty.runs[0].is_ok());
    }

    #[test]
    fn the_explorer_counts_schedules() {
        let explored = |failed| {
            format!(
                "zc-kernels: begin explore\n\
                 40 schedules, 44 faults injected, {failed} scenarios failed, in 1.5 s\n\
                 zc-kernels: end explore 0 2"
            )
        };
        let run = &tally(&explored(0)).runs[0];
        assert_eq!((run.passed, run.is_ok()), (40, true));
        assert!(!tally(&explored(10)).runs[0].is_ok());
    }

    #[test]
    fn what_upset_the_kernel_is_kept() {
        let tally = tally("zc-kernels: kernel [ 1.0] WARNING: CPU: 0\nzc-kernels: done");
        assert_eq!(tally.complaints, ["[ 1.0] WARNING: CPU: 0"]);
    }
}
