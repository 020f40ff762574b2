//! Curves over logarithmic axes, named at their ends instead of in a legend.

use super::{ACCENT, Anchor, INK, PEER, QUIET, RULE, Svg, WIDTH, short};

const TOP: f64 = 96.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const HEIGHT: f64 = 260.0;
/// Between two names at the right.
const STEP: f64 = 15.0;

pub struct Curve {
    pub name: String,
    pub accent: bool,
    pub points: Vec<(f64, f64)>,
}

/// Where the marks of an axis are, and what they say.
pub struct Axis {
    pub title: String,
    pub marks: Vec<(f64, String)>,
}

/// Marks at the powers of ten that hold all of these.
pub fn decades(title: &str, values: impl Iterator<Item = f64>) -> Axis {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|it| *it > 0.0) {
        (low, high) = (low.min(value), high.max(value));
    }
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let last = last.max(first + 1);
    let marks = (first..=last).map(|power| {
        let value = 10_f64.powi(power);
        (value, short(value))
    });
    Axis {
        title: title.to_owned(),
        marks: marks.collect(),
    }
}

fn place(axis: &Axis, value: f64) -> f64 {
    let first = axis.marks.first().map_or(1.0, |it| it.0).ln();
    let last = axis.marks.last().map_or(10.0, |it| it.0).ln();
    ((value.ln() - first) / (last - first)).clamp(0.0, 1.0)
}

pub fn draw(title: &str, subtitle: &str, x: &Axis, y: &Axis, curves: &[Curve]) -> String {
    let mut svg = Svg::new(title, subtitle);
    let (width, bottom) = (WIDTH - LEFT - RIGHT, TOP + HEIGHT);
    for (value, mark) in &y.marks {
        let at = bottom - place(y, *value) * HEIGHT;
        svg.line((LEFT, at), (LEFT + width, at), RULE, 1.0);
        svg.text(LEFT - 8.0, at + 4.0, mark, QUIET, Anchor::End);
    }
    for (value, mark) in &x.marks {
        let at = LEFT + place(x, *value) * width;
        svg.line((at, bottom), (at, bottom + 4.0), QUIET, 1.0);
        svg.text(at, bottom + 18.0, mark, QUIET, Anchor::Middle);
    }
    svg.text(16.0, TOP - 18.0, &y.title, INK, Anchor::Start);
    svg.text(
        LEFT + width / 2.0,
        bottom + 36.0,
        &x.title,
        INK,
        Anchor::Middle,
    );
    let mut names = Vec::new();
    for curve in curves {
        let at =
            |(a, b): &(f64, f64)| (LEFT + place(x, *a) * width, bottom - place(y, *b) * HEIGHT);
        let points: Vec<_> = curve.points.iter().map(at).collect();
        let colour = if curve.accent { ACCENT } else { PEER };
        svg.path(&points, colour, if curve.accent { 2.5 } else { 1.5 });
        for point in &points {
            svg.dot(*point, colour);
        }
        if let Some(end) = points.last() {
            names.push((*end, curve));
        }
    }
    let right = LEFT + width + 10.0;
    let mut next = f64::NEG_INFINITY;
    names.sort_by(|a: &((f64, f64), _), b| a.0.1.total_cmp(&b.0.1));
    for (end, curve) in names {
        let at = (end.1 + 4.0).max(next);
        next = at + STEP;
        svg.line((end.0 + 5.0, end.1), (right - 4.0, at - 4.0), RULE, 1.0);
        if curve.accent {
            svg.strong(right, at, &curve.name, ACCENT, Anchor::Start);
        } else {
            svg.text(right, at, &curve.name, INK, Anchor::Start);
        }
    }
    svg.finish((bottom + 48.0).max(next))
}
