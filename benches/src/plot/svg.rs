//! Plots as SVG.

use std::fmt::Write;

use mayfly_load::report::escape;

use super::{Axis, Look, Plot, Scale, Series};

const WIDTH: f64 = 860.0;
/// Height of the area, and what is around it. Above it are the title and as many lines of legend as there are.
const AREA_HEIGHT: f64 = 320.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 32.0;
const BOTTOM: f64 = 52.0;
const TITLE: f64 = 44.0;
const LEGEND_LINE: f64 = 20.0;
/// Widths of letters of the legend, rather too wide, and what a label needs besides.
const LARGE: f64 = 9.6;
const SMALL: f64 = 7.4;
const LABEL: f64 = 46.0;
/// Lines of at most so many values have dots.
const DOTS_MAX: usize = 24;
/// As many as there are in the style.
const COLOURS: usize = 8;
/// Part of the distance of two values of x that their bars have.
const BARS: f64 = 0.8;

/// Who decides about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// Light or dark, as the reader's screen.
    OfTheReader,
    Light,
}

pub(super) fn draw(plot: &Plot, colours: Colours) -> String {
    let (legend, lines) = legend(&plot.series);
    let area = Area { plot, top: TITLE + lines as f64 * LEGEND_LINE + 6.0 };
    let height = area.top + AREA_HEIGHT + BOTTOM;
    let dark = if colours == Colours::Light { "" } else { include_str!("dark.css") };
    let title = escape(&plot.title);
    let mut svg = format!(
        "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"{title}\">\n<style>{}{dark}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"20\" y=\"29\">{title}</text>\n{legend}",
        include_str!("light.css")
    );
    area.grid(&mut svg);
    for (index, series) in plot.series.iter().enumerate() {
        match series.look {
            Look::Line => area.line(&mut svg, index, series, "line"),
            Look::Dashed => area.line(&mut svg, index, series, "dashed"),
            Look::Dots => area.dots(&mut svg, index, series, 2.2),
            Look::Bars => area.bars(&mut svg, index, series),
        }
        if series.look == Look::Line && series.points.len() <= DOTS_MAX {
            area.dots(&mut svg, index, series, 3.4);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The legend, and how many lines it takes.
fn legend(series: &[Series]) -> (String, usize) {
    let (mut svg, mut x, mut line) = (String::new(), LEFT, 0);
    for (index, series) in series.iter().enumerate() {
        let letters =
            series.label.chars().map(|letter| if letter.is_uppercase() || letter == '_' { LARGE } else { SMALL });
        let width = LABEL + letters.sum::<f64>();
        if x > LEFT && x + width > WIDTH - RIGHT {
            (x, line) = (LEFT, line + 1);
        }
        let y = TITLE + f64::from(line) * LEGEND_LINE + 8.0;
        let colour = index % COLOURS;
        let _ = match series.look {
            Look::Line | Look::Dashed => {
                let class = if series.look == Look::Line { "line" } else { "dashed" };
                writeln!(svg, "<path class=\"{class} s{colour}\" d=\"M{x:.1} {y}h20\"/>")
            }
            Look::Dots => writeln!(svg, "<circle class=\"dot s{colour}\" cx=\"{:.1}\" cy=\"{y}\" r=\"4\"/>", x + 10.0),
            Look::Bars => writeln!(
                svg,
                "<rect class=\"bar s{colour}\" x=\"{:.1}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/>",
                x + 6.0,
                y - 6.0
            ),
        };
        let _ = writeln!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{}\">{}</text>",
            x + 27.0,
            y + 4.5,
            escape(&series.label)
        );
        x += width;
    }
    (svg, if series.is_empty() { 0 } else { line as usize + 1 })
}

struct Area<'a> {
    plot: &'a Plot,
    top: f64,
}

impl Area<'_> {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.plot.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + (1.0 - self.plot.y.place(value)) * AREA_HEIGHT
    }

    fn grid(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, self.top + AREA_HEIGHT);
        for (value, text) in &self.plot.y.ticks {
            let y = self.y(*value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text class=\"tick end\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LEFT - 9.0,
                y + 4.5,
                escape(text)
            );
        }
        for (value, text) in &self.plot.x.ticks {
            let x = self.x(*value);
            let _ = writeln!(svg, "<path class=\"stub\" d=\"M{x:.1} {bottom}v5\"/>");
            for (line, text) in text.lines().enumerate() {
                let y = bottom + 20.0 + 16.0 * line as f64;
                let _ = writeln!(svg, "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{y}\">{}</text>", escape(text));
            }
        }
        let (middle, centre) = ((LEFT + right) / 2.0, self.top + AREA_HEIGHT / 2.0);
        let _ = writeln!(
            svg,
            "<text class=\"axis middle\" x=\"{middle:.1}\" y=\"{}\">{}</text>\
             <text class=\"axis middle\" transform=\"translate(18 {centre:.1}) rotate(-90)\">{}</text>",
            bottom + 42.0,
            escape(&self.plot.x.label),
            escape(&self.plot.y.label)
        );
    }

    fn line(&self, svg: &mut String, index: usize, series: &Series, class: &str) {
        let (mut path, mut is_begun) = (String::new(), false);
        for &(x, y) in &series.points {
            if self.is_drawn(x, y) {
                let _ = write!(path, "{}{:.1} {:.1}", if is_begun { 'L' } else { 'M' }, self.x(x), self.y(y));
            }
            is_begun = self.is_drawn(x, y);
        }
        if !path.is_empty() {
            let _ = writeln!(svg, "<path class=\"{class} s{}\" d=\"{path}\"/>", index % COLOURS);
        }
    }

    fn dots(&self, svg: &mut String, index: usize, series: &Series, radius: f64) {
        let dots = series.points.iter().filter(|(x, y)| self.is_drawn(*x, *y));
        let _ = write!(svg, "<g class=\"dot s{}\">", index % COLOURS);
        for &(x, y) in dots {
            let _ = write!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"/>", self.x(x), self.y(y));
        }
        svg.push_str("</g>\n");
    }

    fn bars(&self, svg: &mut String, index: usize, series: &Series) {
        let is_bars = |series: &&Series| series.look == Look::Bars;
        let all = self.plot.series.iter().filter(is_bars).count();
        let before = self.plot.series[..index].iter().filter(is_bars).count();
        let width = (self.x(1.0) - self.x(0.0)) * BARS / all as f64;
        let bottom = self.top + AREA_HEIGHT;
        for &(x, y) in series.points.iter().filter(|(x, y)| self.is_drawn(*x, *y)) {
            let left = self.x(x) + (before as f64 - all as f64 / 2.0) * width;
            let _ = writeln!(
                svg,
                "<rect class=\"bar s{}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                index % COLOURS,
                self.y(y),
                width - 1.0,
                bottom - self.y(y)
            );
        }
    }

    /// Whether there is a place for it: none on a logarithmic axis for what is not positive.
    fn is_drawn(&self, x: f64, y: f64) -> bool {
        let is_placed = |axis: &Axis, value: f64| value.is_finite() && (axis.scale == Scale::Linear || value > 0.0);
        is_placed(&self.plot.x, x) && is_placed(&self.plot.y, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot;

    fn example() -> Plot {
        let series = vec![
            Series::new("reuse & <fresh>", Look::Line, vec![(1.0, 10.0), (10.0, 1000.0), (10.0, f64::NAN), (5.0, 0.0)]),
            Series::new(&"a long label ".repeat(8), Look::Dashed, vec![(1.0, 100.0), (10.0, 100.0)]),
            Series::new("dots", Look::Dots, vec![(1.0, 1000.0)]),
        ];
        Plot {
            title: "\"Latency\" & others".into(),
            x: plot::log("connections", &series, |point| point.0),
            y: plot::log("µs", &series, |point| point.1),
            series,
        }
    }

    #[test]
    fn values_are_where_they_belong() {
        let svg = draw(&example(), Colours::OfTheReader);
        // Three lines of legend: the second label has one for itself.
        let (top, bottom) = (110.0, 110.0 + AREA_HEIGHT);
        let line = format!("<path class=\"line s0\" d=\"M{LEFT:.1} {bottom:.1}L{:.1} {top:.1}\"/>", WIDTH - RIGHT);
        assert!(svg.contains(&line), "{svg}");
        assert!(svg.contains(&format!("<g class=\"dot s2\"><circle cx=\"{LEFT:.1}\" cy=\"{top:.1}\"")), "{svg}");
        // What is not positive or not a number has no dot.
        assert_eq!(svg.matches("r=\"3.4\"").count(), 2);
    }

    #[test]
    fn bars_of_a_name_stand_beside_each_other() {
        let series = ["alone", "beside"].map(|label| Series::new(label, Look::Bars, vec![(0.0, 5.0), (1.0, 10.0)]));
        let x = plot::names("neighbour", ["loop", "flood"]);
        let plot =
            Plot { title: String::new(), x, y: plot::linear("ms", &series, |point| point.1), series: series.into() };
        let svg = draw(&plot, Colours::Light);
        let lefts: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect class=\"bar") && line.contains("width=\"1") && !line.contains("rx="))
            .filter_map(|line| line.split("x=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        let [a, b, c, d] = lefts[..] else { panic!("{svg}") };
        assert!(a < c && c < b && b < d, "{lefts:?}");
    }

    #[test]
    fn plots_are_well_formed() {
        for colours in [Colours::OfTheReader, Colours::Light] {
            let svg = draw(&example(), colours);
            let document = resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
            assert_eq!(document.root_element().attribute("aria-label"), Some("\"Latency\" & others"));
            let texts = document.descendants().filter_map(|node| node.text()).collect::<Vec<_>>();
            assert!(texts.contains(&"reuse & <fresh>") && texts.contains(&"connections"), "{texts:?}");
            assert_eq!(svg.contains("prefers-color-scheme"), colours == Colours::OfTheReader);
        }
    }

    #[test]
    fn a_png_has_the_lines_and_the_letters() {
        let plot = example();
        let picture = |plot: &Plot| {
            let pixels = resvg::tiny_skia::Pixmap::decode_png(&plot.png().unwrap()).unwrap();
            assert_eq!((pixels.width(), pixels.height()), (1720, 964));
            pixels
        };
        let full = picture(&plot);
        let blue =
            full.pixels().iter().filter(|pixel| (pixel.red(), pixel.green(), pixel.blue()) == (0x1c, 0x5f, 0xae));
        assert!(blue.count() > 2000);
        let mut silent = plot.clone();
        silent.title.clear();
        let dark = |picture: &resvg::tiny_skia::Pixmap| picture.pixels().iter().filter(|p| p.red() < 0x40).count();
        assert!(dark(&full) > dark(&picture(&silent)) + 500);
    }
}
