//! The samples of a run, and figures made of them.

use std::collections::BTreeMap;

use super::stats::Spread;

/// What a run of the bench program printed.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The Go toolchain's version.
    pub(crate) go: Option<String>,
    /// The cells, in order.
    pub(crate) cells: Vec<Cell>,
}

/// One cell's samples.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) name: String,
    /// The table it belongs to.
    pub(crate) group: String,
    /// How many bytes a round moves.
    pub(crate) bytes: u64,
    /// How many copies a round makes.
    pub(crate) copies: u64,
    /// Whether its cost is given per copy rather than per KiB.
    pub(crate) per_copy: bool,
    /// Subjects left out, and why.
    pub(crate) skips: Vec<(String, String)>,
    subjects: Vec<Subject>,
}

/// One subject's samples.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    is_floor: bool,
    rounds: BTreeMap<u32, Sample>,
    /// Figures other than times, by their names.
    figures: BTreeMap<String, BTreeMap<u32, f64>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    wall: f64,
    cpu: f64,
    peers: f64,
    allocations: u64,
    allocated: u64,
}

/// One of a sample's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Time on a processor.
    Cpu,
    /// Time on a processor, with the peers' (sender, drain).
    All,
    /// Wall time: the inverse of throughput.
    Wall,
}

impl Sample {
    fn get(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Cpu => self.cpu,
            Metric::All => self.cpu + self.peers,
            Metric::Wall => self.wall,
        }
    }
}

impl Run {
    /// Reads the lines that `benches/src/main.rs` describes.
    pub(crate) fn parse(text: &str) -> Result<Run, String> {
        let mut run = Run::default();
        for line in text.lines() {
            run.line(&line.split('\t').collect::<Vec<_>>())
                .ok_or_else(|| format!("not a line of samples: {line}"))?;
        }
        Ok(run)
    }

    fn line(&mut self, words: &[&str]) -> Option<()> {
        match *words {
            ["go", version] => self.go = Some(version.to_owned()),
            ["cell", name, group, bytes, copies, per_copy] => self.cells.push(Cell {
                name: name.to_owned(),
                group: group.to_owned(),
                bytes: bytes.parse().ok()?,
                copies: copies.parse().ok()?,
                per_copy: per_copy == "true",
                skips: Vec::new(),
                subjects: Vec::new(),
            }),
            ["skip", _, subject, reason] => {
                let skips = &mut self.cells.last_mut()?.skips;
                skips.push((subject.to_owned(), reason.to_owned()));
            }
            ["sample", _, name, role, round, wall, cpu, peers, allocations, allocated] => {
                let sample = Sample {
                    wall: wall.parse().ok()?,
                    // A clock that did not move must not make a division by zero.
                    cpu: cpu.parse::<f64>().ok()?.max(1.0),
                    peers: peers.parse().ok()?,
                    allocations: allocations.parse().ok()?,
                    allocated: allocated.parse().ok()?,
                };
                let cell = self.cells.last_mut()?;
                cell.subject_mut(name, role == "floor").rounds.insert(round.parse().ok()?, sample);
            }
            ["figure", _, name, round, what, value] => {
                let subject = self.cells.last_mut()?.subject_mut(name, false);
                let figures = subject.figures.entry(what.to_owned()).or_default();
                figures.insert(round.parse().ok()?, value.parse().ok()?);
            }
            ["end", _] => {}
            _ => return None,
        }
        Some(())
    }

    /// The groups of cells, in order of appearance.
    pub(crate) fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for cell in &self.cells {
            if !groups.contains(&cell.group.as_str()) {
                groups.push(&cell.group);
            }
        }
        groups
    }
}

impl Cell {
    fn subject_mut(&mut self, name: &str, is_floor: bool) -> &mut Subject {
        let at = self.subjects.iter().position(|subject| subject.name == name);
        let at = at.unwrap_or_else(|| {
            self.subjects.push(Subject {
                name: name.to_owned(),
                is_floor,
                rounds: BTreeMap::new(),
                figures: BTreeMap::new(),
            });
            self.subjects.len() - 1
        });
        &mut self.subjects[at]
    }

    /// All subjects that were measured: zc, its peers, then the bare loops.
    pub(crate) fn subjects(&self) -> Vec<&Subject> {
        let mut all: Vec<&Subject> = self.subjects.iter().collect();
        let rank = |subject: &Subject| match subject.name.as_str() {
            "zc" => 0,
            _ if subject.is_floor => 2,
            _ => 1,
        };
        all.sort_by(|a, b| (rank(a), &a.name).cmp(&(rank(b), &b.name)));
        all
    }

    /// A subject by name. "floor" is the bare loop with the lowest median of CPU time. "moving" is the same among the
    /// loops that move the bytes to the sink, and do not drop them. "plain" is the same among those that wait for one
    /// byte only. "haproxy*" is the better of its two.
    pub(crate) fn subject(&self, name: &str) -> Option<&Subject> {
        let waits = |subject: &Subject| subject.name.starts_with("wait-");
        let moves = |subject: &Subject| subject.name != "recv-trunc" && !waits(subject);
        match name {
            "floor" => self.best(|subject| subject.is_floor),
            "moving" => self.best(|subject| subject.is_floor && moves(subject)),
            "plain" => self.best(|subject| subject.is_floor && !waits(subject)),
            "haproxy*" => self
                .best(|subject| subject.name.starts_with("haproxy"))
                .or_else(|| self.subject("haproxy")),
            _ => self.subjects.iter().find(|subject| subject.name == name),
        }
    }

    fn best(&self, wanted: impl Fn(&Subject) -> bool) -> Option<&Subject> {
        let cpu = |subject: &Subject| subject.time(Metric::Cpu).map(|spread| spread.median);
        let wanted = self.subjects.iter().filter(|subject| wanted(subject));
        let timed = wanted.filter_map(|subject| Some((cpu(subject)?, subject)));
        timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, best)| best)
    }

    /// zc's time divided by `base`'s: the median over the rounds.
    pub(crate) fn ratio(&self, base: &str, metric: Metric) -> Option<Spread> {
        self.ratio_of("zc", base, metric)
    }

    /// One subject's time divided by another's.
    pub(crate) fn ratio_of(&self, who: &str, base: &str, metric: Metric) -> Option<Spread> {
        let (who, base) = (self.subject(who)?, self.subject(base)?);
        let both = who.rounds.iter().filter_map(|(round, ours)| {
            Some(ours.get(metric) / base.rounds.get(round)?.get(metric))
        });
        Spread::of(both.collect())
    }

    /// One subject's figure divided by another's, by their medians: the two may be from different rounds.
    pub(crate) fn figure_ratio(&self, who: &str, base: &str, what: &str) -> Option<f64> {
        let median = |name| Some(self.subject(name)?.figure(what)?.median);
        Some(median(who)? / median(base)?)
    }

    /// A time, in the cell's unit: nanoseconds per KiB, or per copy.
    pub(crate) fn unit(&self) -> (&'static str, f64) {
        if self.per_copy {
            ("ns/copy", self.copies as f64)
        } else {
            ("ns/KiB", self.bytes as f64 / 1024.0)
        }
    }

    /// Throughput for a time, in MiB per second.
    pub(crate) fn throughput(&self, nanoseconds: f64) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / (nanoseconds / 1e9)
    }
}

impl Subject {
    /// The time of a round, in nanoseconds.
    pub(crate) fn time(&self, metric: Metric) -> Option<Spread> {
        Spread::of(self.rounds.values().map(|sample| sample.get(metric)).collect())
    }

    /// Figures other than times.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&str, Spread)> {
        let spread = |rounds: &BTreeMap<u32, f64>| Spread::of(rounds.values().copied().collect());
        self.figures.iter().filter_map(move |(what, rounds)| Some((&**what, spread(rounds)?)))
    }

    /// One of them.
    pub(crate) fn figure(&self, what: &str) -> Option<Spread> {
        self.figures().find(|(name, _)| *name == what).map(|(_, spread)| spread)
    }

    /// Allocations and bytes allocated in a round: the worst of all rounds.
    pub(crate) fn allocated(&self) -> (u64, u64) {
        let rounds = self.rounds.values();
        rounds.fold((0, 0), |worst, s| (worst.0.max(s.allocations), worst.1.max(s.allocated)))
    }

    /// How many rounds there were.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cell\ta/1\tgroup\t2048\t1\tfalse\n\
        sample\ta/1\tzc\tsubject\t0\t10\t5\t0\t0\t0\n\
        sample\ta/1\tstd\tsubject\t0\t20\t20\t0\t1\t64\n\
        sample\ta/1\tslow\tfloor\t0\t1\t9\t0\t0\t0\n\
        sample\ta/1\tfast\tfloor\t0\t9\t4\t0\t0\t0\n\
        figure\ta/1\tzc\t0\tKiB/connection\t3\n\
        figure\ta/1\tzc\t1\tKiB/connection\t5\n\
        figure\ta/1\tstd\t0\tKiB/connection\t8\n\
        skip\ta/1\tgo\tno toolchain\n\
        end\ta/1\n";

    #[test]
    fn ratios_and_the_floor_are_found() {
        let run = Run::parse(TEXT).unwrap();
        let cell = &run.cells[0];
        assert_eq!(cell.ratio("std", Metric::Cpu).unwrap().median, 0.25);
        assert_eq!(cell.ratio("std", Metric::Wall).unwrap().median, 0.5);
        assert_eq!(cell.subject("floor").unwrap().name, "fast");
        assert_eq!(cell.ratio("go", Metric::Cpu), None);
        assert_eq!(cell.unit(), ("ns/KiB", 2.0));
        assert_eq!(cell.subject("std").unwrap().allocated(), (1, 64));
        assert_eq!(cell.skips[0].0, "go");
        assert_eq!(cell.figure_ratio("zc", "std", "KiB/connection"), Some(0.5));
        assert_eq!(cell.figure_ratio("zc", "std", "µs"), None);
    }

    #[test]
    fn foreign_lines_are_named() {
        assert!(Run::parse("what is this").unwrap_err().contains("what is this"));
    }
}
