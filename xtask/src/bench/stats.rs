//! Medians, and the spread of the middle half around them.

/// A median with its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Half of the figures are below.
    pub(crate) median: f64,
    /// A quarter is below.
    pub(crate) low: f64,
    /// A quarter is above.
    pub(crate) high: f64,
}

impl Spread {
    /// `None` if there are no figures.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Spread> {
        if figures.is_empty() {
            return None;
        }
        figures.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let exact = part * (figures.len() - 1) as f64;
            let (below, above) = (figures[exact.floor() as usize], figures[exact.ceil() as usize]);
            below + (above - below) * exact.fract()
        };
        Some(Spread { median: at(0.5), low: at(0.25), high: at(0.75) })
    }

    /// Half the distance between the quartiles, in parts of the median.
    pub(crate) fn relative(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.high - self.low) / 2.0 / self.median }
    }

    /// Whether 1 lies in the middle half: such a ratio is no difference worth naming.
    pub(crate) fn spans_one(&self) -> bool {
        self.low <= 1.0 && 1.0 <= self.high
    }
}

/// The geometric mean; `None` if there are no figures.
pub(crate) fn geomean(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for figure in figures {
        sum += figure.ln();
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_around_the_median() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0, 5.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, low: 2.0, high: 4.0 });
        assert!(!spread.spans_one());
        assert_eq!(Spread::of(vec![1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn means_are_geometric() {
        assert!((geomean([0.5, 2.0]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(geomean([]), None);
    }
}
