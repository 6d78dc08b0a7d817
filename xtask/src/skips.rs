//! What the tests skipped, shown once, at the end.
//!
//! libtest shows what a test prints only if the test fails. So each test that skips something appends a line to a
//! file, whose name is in an environment variable.

use std::collections::{BTreeMap, BTreeSet};
use std::{env, fs, io};

/// The variable that names the file.
const VARIABLE: &str = "ZC_SKIPPED";

/// The file to which tests write what they skip.
pub(crate) struct Skips(String);

impl Skips {
    /// Begins with an empty file.
    pub(crate) fn begin() -> io::Result<Skips> {
        let target = crate::root().join("target");
        fs::create_dir_all(&target)?;
        let path = target.join("skipped").display().to_string();
        fs::write(&path, "")?;
        Ok(Skips(path))
    }

    /// The variable for the tests' environment.
    pub(crate) fn variable(&self) -> (&'static str, &str) {
        (VARIABLE, &self.0)
    }

    /// Prints each reason with the tests that skipped for it.
    pub(crate) fn show(&self) -> io::Result<()> {
        print!("\n{}", summary(&fs::read_to_string(&self.0)?));
        if env::var_os("ZC_NO_SKIP").is_none() {
            println!("(with ZC_NO_SKIP=1 a test that skips fails)");
        }
        Ok(())
    }
}

fn summary(lines: &str) -> String {
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in lines.lines() {
        let (test, why) = line.split_once('\t').unwrap_or(("", line));
        reasons.entry(why).or_default().insert(test);
    }
    if reasons.is_empty() {
        return "skipped: nothing\n".to_owned();
    }
    let mut text = "skipped:\n".to_owned();
    for (why, tests) in reasons {
        text += &format!("  {why}\n");
        for test in tests {
            text += &format!("    in {test}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_shown_once() {
        let lines = "cli files::a\tno curl\nfiles pairs::b\tno xfs\ncli files::a\tno curl\ncli peers::c\tno curl\n";
        let want = "skipped:\n  no curl\n    in cli files::a\n    in cli peers::c\n  no xfs\n    in files pairs::b\n";
        assert_eq!(summary(lines), want);
        assert_eq!(summary(""), "skipped: nothing\n");
    }
}
