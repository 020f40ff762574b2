//! Pictures in SVG, drawn by hand: text stays text, and the ground is white wherever it is shown.
//!
//! Called by `pictures`.

pub mod bars;
pub mod curves;

use std::fmt::Write;

pub const WIDTH: f64 = 800.0;
pub const INK: &str = "#1f2933";
pub const QUIET: &str = "#616e7c";
pub const RULE: &str = "#d9dfe5";
/// Cairn's colour, and nobody else's.
pub const ACCENT: &str = "#d9480f";
pub const PEER: &str = "#829ab1";
pub const LIMIT: &str = "#cbd2d9";

/// A picture that grows downwards.
pub struct Svg {
    body: String,
}

#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub fn new(title: &str, subtitle: &str) -> Self {
        let mut svg = Self {
            body: String::new(),
        };
        svg.words(16.0, 28.0, title, INK, 17.0, Anchor::Start, true);
        svg.words(16.0, 48.0, subtitle, QUIET, 13.0, Anchor::Start, false);
        svg
    }

    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        );
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#
        );
    }

    pub fn path(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.body,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>"#,
            points.join(" ")
        );
    }

    pub fn dot(&mut self, at: (f64, f64), colour: &str) {
        let (x, y) = at;
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#
        );
    }

    pub fn text(&mut self, x: f64, y: f64, text: &str, colour: &str, anchor: Anchor) {
        self.words(x, y, text, colour, 12.0, anchor, false);
    }

    pub fn strong(&mut self, x: f64, y: f64, text: &str, colour: &str, anchor: Anchor) {
        self.words(x, y, text, colour, 12.0, anchor, true);
    }

    #[allow(clippy::too_many_arguments)] // Where, what, how it looks.
    fn words(
        &mut self,
        x: f64,
        y: f64,
        text: &str,
        colour: &str,
        size: f64,
        anchor: Anchor,
        bold: bool,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if bold { r#" font-weight="600""# } else { "" };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>{text}</text>"#
        );
    }

    pub fn finish(self, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" \
             height=\"{height:.0}\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// Two or three digits and a unit of thousands: 20.1 k.
pub fn short(value: f64) -> String {
    for (unit, size) in [(" G", 1e9), (" M", 1e6), (" k", 1e3)] {
        if value >= size {
            let value = value / size;
            let digits = usize::from(value < 10.0);
            return format!("{value:.digits$}{unit}");
        }
    }
    match value {
        it if it >= 10.0 || it == 0.0 => format!("{it:.0}"),
        it if it >= 1.0 => format!("{it:.1}"),
        it => format!("{it:.2}"),
    }
}
