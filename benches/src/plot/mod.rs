//! Plots: lines, dots and bars over linear and logarithmic axes, as SVG for pages and as PNG for everything else.
//!
//! An SVG has its own paper and two sets of colours, so that it can be read in light and in dark. Axes are those of `mayfly load`'s
//! reports. The font is a part of DejaVu Sans (Latin, without hints), for a PNG must be the same on hosts without any.

mod png;
mod svg;

pub use mayfly_load::report::{Axis, Scale};

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A line, with a dot at each value if they are few.
    Line,
    /// A line that is no measurement: an aim, a fit, a floor.
    Dashed,
    /// A dot for each value.
    Dots,
    /// A bar for each value, beside those of other series with the same x.
    Bars,
}

/// Values over others. One that is not finite interrupts the line.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is, for the legend.
    pub label: String,
    /// How it is drawn.
    pub look: Look,
    /// Its values, from left to right.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A series.
    #[must_use]
    pub fn new(label: &str, look: Look, points: Vec<(f64, f64)>) -> Series {
        Series { label: label.to_owned(), look, points }
    }
}

/// A plot. Its series have their colours by their order; the later ones are further in front.
#[derive(Debug, Clone)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// Left to right.
    pub x: Axis,
    /// Bottom to top.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
}

impl Plot {
    /// The plot as a file of its own, or a part of a page.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::draw(self, svg::Colours::OfTheReader)
    }

    /// The plot in light colours, two pixels to each of the SVG's.
    ///
    /// # Errors
    /// If it cannot be drawn, which is a mistake in here.
    pub fn png(&self) -> std::io::Result<Vec<u8>> {
        png::draw(&svg::draw(self, svg::Colours::Light))
    }

    /// Its values: a line for each.
    #[must_use]
    pub fn csv(&self) -> String {
        let of = |series: &Series| {
            let label = crate::report::csv_field(&series.label);
            series.points.iter().map(|(x, y)| format!("{label},{x},{y}\n")).collect::<String>()
        };
        let head = [&self.x.label, &self.y.label].map(|label| crate::report::csv_field(label));
        format!("series,{}\n{}", head.join(","), self.series.iter().map(of).collect::<String>())
    }
}

/// A logarithmic axis that has room for all values of the series: their first members if it is the `x` axis.
#[must_use]
pub fn log(label: &str, series: &[Series], value: fn(&(f64, f64)) -> f64) -> Axis {
    Axis::log(label, series.iter().flat_map(|series| &series.points).map(value), number)
}

/// A linear axis from 0 that has room for all values of the series.
#[must_use]
pub fn linear(label: &str, series: &[Series], value: fn(&(f64, f64)) -> f64) -> Axis {
    let values = series.iter().flat_map(|series| &series.points).map(value).filter(|value| value.is_finite());
    Axis::linear(label, values.fold(0.0, f64::max), number)
}

/// A logarithmic axis that ends where its ticks do.
#[must_use]
pub fn log_of(label: &str, ticks: &[f64]) -> Axis {
    let ends = ticks.iter().fold((f64::INFINITY, 0.0f64), |(low, high), &tick| (low.min(tick), high.max(tick)));
    let ticks = ticks.iter().map(|&tick| (tick, number(tick))).collect();
    Axis { label: label.to_owned(), range: ends, scale: Scale::Log, ticks }
}

/// An axis of things without an order: the first is at 0, the next at 1. A name may have two lines.
#[must_use]
pub fn names<'a>(label: &str, names: impl IntoIterator<Item = &'a str>) -> Axis {
    let ticks: Vec<(f64, String)> =
        names.into_iter().enumerate().map(|(at, name)| (at as f64, name.to_owned())).collect();
    let range = (-0.5, ticks.len().max(1) as f64 - 0.5);
    Axis { label: label.to_owned(), range, scale: Scale::Linear, ticks }
}

/// A round number, with commas: `0.05`, `2,000`.
#[must_use]
pub fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, part) = text.split_once('.').map_or((text, String::new()), |(whole, part)| (whole, format!(".{part}")));
    let digits = whole.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    digits.collect::<Vec<_>>().join(",").replace("-,", "-") + &part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.05, 1.0, 2000.0, 25_600.5, 1e6, -123.0].map(number),
            ["0.05", "1", "2,000", "25,600.5", "1,000,000", "-123"]
        );
    }

    #[test]
    fn values_are_written_with_their_series() {
        let series = vec![Series::new("a, b", Look::Line, vec![(1.0, 2.5), (2.0, f64::NAN)])];
        let plot = Plot {
            title: String::new(),
            x: log("connections", &series, |point| point.0),
            y: linear("ms", &series, |point| point.1),
            series,
        };
        assert_eq!(plot.csv(), "series,connections,ms\n\"a, b\",1,2.5\n\"a, b\",2,NaN\n");
    }
}
