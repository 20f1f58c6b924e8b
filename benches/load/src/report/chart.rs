//! Plots as SVG, by hand: few kinds, and colours that the page around them decides, so that they are right in light and in dark.

use std::fmt::Write;

/// Size of a plot, and of what is around its area.
const WIDTH: f64 = 940.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences, equal distances.
    Linear,
    /// Equal factors, equal distances.
    Log,
}

/// A direction of a plot.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What it is, and in which unit.
    pub label: String,
    /// Its least and greatest value.
    pub range: (f64, f64),
    /// How it is divided.
    pub scale: Scale,
    /// Values that are written, and what is written.
    pub ticks: Vec<(f64, String)>,
}

/// Values over others. One that is not finite interrupts the line.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is, for the legend.
    pub label: String,
    /// Its colour: a class of `style.css`.
    pub class: &'static str,
    /// Lower edge of each value, if it is to be an area.
    pub base: Option<Vec<f64>>,
    /// Its values, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows, for those who do not see it.
    pub title: String,
    /// Left to right.
    pub x: Axis,
    /// Bottom to top.
    pub y: Axis,
    /// The later, the further in front.
    pub series: Vec<Series>,
    /// Parts of the x axis that mean something, and what.
    pub shades: Vec<(f64, f64, &'static str)>,
    /// Parts of the x axis, and what is told when somebody points at them.
    pub tips: Vec<(f64, f64, String)>,
}

impl Axis {
    /// From 0 to just above `max`.
    #[must_use]
    pub fn linear(label: &str, max: f64, write: impl Fn(f64) -> String) -> Axis {
        let step = step(max.max(f64::MIN_POSITIVE) / 5.0);
        let count = (max / step).ceil().max(1.0);
        let ticks = (0..=count as u32).map(|k| f64::from(k) * step).map(|value| (value, write(value))).collect();
        Axis { label: label.to_owned(), range: (0.0, count * step), scale: Scale::Linear, ticks }
    }

    /// From 0 to exactly `max`.
    #[must_use]
    pub fn exact(label: &str, max: f64, write: impl Fn(f64) -> String) -> Axis {
        let mut axis = Axis::linear(label, max, write);
        axis.range.1 = max;
        axis.ticks.retain(|(value, _)| *value <= max);
        axis
    }

    /// From one of 1, 2, 5, 10, … to another that have all positive values between them.
    #[must_use]
    pub fn log(label: &str, values: impl Iterator<Item = f64>, write: impl Fn(f64) -> String) -> Axis {
        let usable = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = usable.fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if high > 0.0 { (low, high.max(low * 1.01)) } else { (1.0, 10.0) };
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let all = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(decade)));
        let steps: Vec<f64> = all.collect();
        let first = steps.iter().rposition(|&step| step <= low).unwrap_or(0);
        let last = steps.iter().position(|&step| step >= high).unwrap_or(steps.len() - 1);
        let range = (steps[first], steps[last]);
        let is_short = range.1 / range.0 <= 1e3;
        let is_decade = |value: f64| (value.log10() - value.log10().round()).abs() < 1e-9;
        let shown = steps[first..=last].iter().filter(|&&step| is_short || is_decade(step));
        let ticks = shown.map(|&step| (step, write(step))).collect();
        Axis { label: label.to_owned(), range, scale: Scale::Log, ticks }
    }

    /// Where a value is, from 0 to 1.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        let part = match self.scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Log => (value.max(low) / low).ln() / (high / low).ln(),
        };
        part.clamp(0.0, 1.0)
    }
}

/// The least of 1, 2, 5, 10, … that is not below.
fn step(least: f64) -> f64 {
    let decade = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * decade).find(|&step| step >= least * 0.999).unwrap_or(least)
}

impl Chart {
    /// The plot, to be put into a page with `style.css`.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\" \
             aria-label=\"{}\">\n",
            escape(&self.title)
        );
        self.grid(&mut svg);
        for series in &self.series {
            match &series.base {
                Some(base) => self.area(&mut svg, series, base),
                None => self.line(&mut svg, series),
            }
        }
        for (from, to, text) in &self.tips {
            let (left, right) = (self.x(*from), self.x(*to));
            let width = (right - left).max(0.5);
            let height = HEIGHT - TOP - BOTTOM;
            let _ = writeln!(
                svg,
                "<rect class=\"tip\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"><title>{}</title></rect>",
                escape(text)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The plot as a file of its own, with a legend.
    #[must_use]
    pub fn file(&self) -> String {
        let mut legend = String::new();
        let mut left = LEFT;
        for series in &self.series {
            let _ = write!(
                legend,
                "<rect class=\"area {}\" x=\"{left}\" y=\"-12\" width=\"12\" height=\"12\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"-2\">{}</text>",
                series.class,
                left + 17.0,
                escape(&series.label)
            );
            left += 40.0 + 6.4 * series.label.chars().count() as f64;
        }
        let title = format!("<text class=\"axis\" x=\"{LEFT}\" y=\"-26\">{}</text>", escape(&self.title));
        let head = format!(
            "<style>{}</style><rect class=\"paper\" x=\"0\" y=\"-48\" width=\"{WIDTH}\" height=\"{}\"/>{title}{legend}",
            super::html::STYLE,
            HEIGHT + 48.0
        );
        let svg = self.svg().replacen(
            &format!("viewBox=\"0 0 {WIDTH} {HEIGHT}\""),
            &format!("viewBox=\"0 -48 {WIDTH} {}\"", HEIGHT + 48.0),
            1,
        );
        svg.replacen(">\n", &format!(">\n{head}\n"), 1)
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn grid(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (from, to, text) in &self.shades {
            let (left, end) = (self.x(*from), self.x(*to));
            let _ = writeln!(
                svg,
                "<rect class=\"shade\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                end - left,
                bottom - TOP,
                left + 4.0,
                TOP + 12.0
            );
        }
        for (value, text) in &self.y.ticks {
            let y = self.y(*value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick end\" x=\"{}\" y=\"{:.1}\">{text}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for (value, text) in &self.x.ticks {
            let x = self.x(*value);
            let _ = writeln!(
                svg,
                "<line class=\"stub\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                 <text class=\"tick middle\" x=\"{x:.1}\" y=\"{}\">{text}</text>",
                bottom + 4.0,
                bottom + 17.0
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"axis middle\" x=\"{:.1}\" y=\"{}\">{}</text>\
             <text class=\"axis middle\" transform=\"translate(14 {:.1}) rotate(-90)\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 5.0,
            escape(&self.x.label),
            (TOP + bottom) / 2.0,
            escape(&self.y.label)
        );
    }

    fn line(&self, svg: &mut String, series: &Series) {
        let mut path = String::new();
        let mut is_begun = false;
        let mut alone = None;
        let mut dots = String::new();
        for &(x, y) in &series.points {
            if !y.is_finite() {
                self.dot(&mut dots, series, alone.take());
                is_begun = false;
                continue;
            }
            alone = (!is_begun).then_some((x, y));
            let _ = write!(path, "{}{:.1} {:.1}", if is_begun { 'L' } else { 'M' }, self.x(x), self.y(y));
            is_begun = true;
        }
        self.dot(&mut dots, series, alone);
        let _ = writeln!(svg, "<path class=\"line {}\" d=\"{path}\"/>{dots}", series.class);
    }

    /// A value without neighbours is no line.
    fn dot(&self, svg: &mut String, series: &Series, point: Option<(f64, f64)>) {
        if let Some((x, y)) = point {
            let _ = write!(
                svg,
                "<circle class=\"area {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"/>",
                series.class,
                self.x(x),
                self.y(y)
            );
        }
    }

    fn area(&self, svg: &mut String, series: &Series, base: &[f64]) {
        let upper = series.points.iter().map(|&(x, y)| format!("{:.1} {:.1}", self.x(x), self.y(y)));
        let lower = series.points.iter().zip(base).rev();
        let lower = lower.map(|(&(x, _), &y)| format!("{:.1} {:.1}", self.x(x), self.y(y)));
        let path = upper.chain(lower).collect::<Vec<_>>().join("L");
        if !path.is_empty() {
            let _ = writeln!(svg, "<path class=\"area {}\" d=\"M{path}Z\"/>", series.class);
        }
    }
}

/// Text as HTML and SVG have it.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        let written = |axis: Axis| axis.ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ");
        let write = |value: f64| format!("{value}");
        assert_eq!(written(Axis::linear("", 870.0, write)), "0 200 400 600 800 1000");
        assert_eq!(written(Axis::linear("", 0.0, write)).split(' ').next(), Some("0"));
        assert_eq!(written(Axis::exact("", 30.0, write)), "0 10 20 30");
        assert_eq!(written(Axis::log("", [3.0, 70.0, f64::NAN, 0.0].into_iter(), write)), "2 5 10 20 50 100");
        assert_eq!(written(Axis::log("", [1.0, 90_000.0].into_iter(), write)), "1 10 100 1000 10000 100000");
        assert_eq!(written(Axis::log("", std::iter::empty(), write)), "1 2 5 10");
    }

    #[test]
    fn values_are_where_they_belong() {
        let series =
            |points: &[(f64, f64)]| Series { label: "a & b".into(), class: "ok", base: None, points: points.to_vec() };
        let mut chart = Chart {
            title: "<t>".into(),
            x: Axis::exact("time, s", 10.0, |value| value.to_string()),
            y: Axis::linear("requests/s", 100.0, |value| value.to_string()),
            series: vec![series(&[(0.0, 0.0), (10.0, 100.0), (10.0, f64::NAN), (5.0, 50.0)])],
            shades: Vec::new(),
            tips: vec![(0.0, 5.0, "first\nhalf".into())],
        };
        let svg = chart.svg();
        assert!(svg.contains("d=\"M72.0 230.0L926.0 14.0M499.0 122.0\""), "{svg}");
        assert!(svg.contains("cx=\"499.0\" cy=\"122.0\"") && svg.contains("aria-label=\"&lt;t&gt;\""), "{svg}");
        chart.series[0].base = Some(vec![0.0, 50.0]);
        chart.series[0].points.truncate(2);
        assert!(chart.svg().contains("d=\"M72.0 230.0L926.0 14.0L926.0 122.0L72.0 230.0Z\""), "{}", chart.svg());
        assert!(chart.file().contains("viewBox=\"0 -48 940 318\"") && chart.file().contains("a &amp; b"));
    }
}
