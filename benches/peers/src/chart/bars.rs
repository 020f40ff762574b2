//! Bars: who is how fast, a panel for each payload, the names once.

use super::{ACCENT, Anchor, INK, LIMIT, PEER, QUIET, RULE, Svg, WIDTH, short};
use crate::engine::Kind;

const TOP: f64 = 64.0;
const NAMES: f64 = 118.0;
const BAR: f64 = 13.0;
const STEP: f64 = 19.0;
const HEAD: f64 = 24.0;
const GAP: f64 = 16.0;
/// Room for the number behind the longest bar.
const NUMBER: f64 = 58.0;

/// One bar of a panel.
pub struct Bar {
    pub engine: String,
    pub kind: Kind,
    /// Durable where it has to be.
    pub honest: bool,
    pub value: f64,
}

pub struct Panel {
    pub title: String,
    pub bars: Vec<Bar>,
}

/// How long a bar is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero. What is far beyond Cairn and its peers is cut, with a mark.
    Linear,
    /// Each power of ten as long as the other.
    Logarithmic,
}

impl Scale {
    /// The length of a bar as a share of the room, and whether it was cut.
    fn share(self, panel: &Panel, value: f64) -> (f64, bool) {
        let all = || panel.bars.iter().map(|bar| bar.value);
        let largest = all().fold(0.0, f64::max);
        match self {
            Self::Linear => {
                let counted = panel
                    .bars
                    .iter()
                    .filter(|bar| bar.honest && bar.kind != Kind::Raw);
                let end = counted.map(|bar| bar.value).fold(0.0, f64::max) * 1.5;
                let end = if end > 0.0 { end.min(largest) } else { largest };
                ((value / end).min(1.0), value > end)
            }
            Self::Logarithmic => {
                let start = all().fold(largest, f64::min) / 2.0;
                ((value / start).ln() / (largest / start).ln(), false)
            }
        }
    }
}

/// Panels in rows of three. Each begins and ends for itself; Cairn's bar is the accent.
pub fn draw(title: &str, subtitle: &str, scale: Scale, panels: &[Panel]) -> String {
    let mut svg = Svg::new(title, subtitle);
    let mut y = TOP;
    for row in panels.chunks(3) {
        y = draw_row(&mut svg, y, scale, row) + GAP;
    }
    svg.finish(y)
}

/// Who comes first in the middle panel comes first in all of the row.
fn order(row: &[Panel]) -> Vec<(&str, Kind, bool)> {
    let mut order: Vec<(&str, Kind, bool)> = Vec::new();
    let middle = row.len() / 2;
    for panel in row[middle..].iter().chain(&row[..middle]) {
        let mut bars: Vec<&Bar> = panel.bars.iter().collect();
        bars.sort_by(|a, b| b.value.total_cmp(&a.value));
        for bar in bars {
            if !order.iter().any(|(name, ..)| *name == bar.engine) {
                order.push((&bar.engine, bar.kind, bar.honest));
            }
        }
    }
    order
}

fn draw_row(svg: &mut Svg, top: f64, scale: Scale, row: &[Panel]) -> f64 {
    let order = order(row);
    let width = (WIDTH - NAMES - 16.0) / row.len() as f64;
    let bottom = top + HEAD + order.len() as f64 * STEP;
    for (at, (name, kind, honest)) in order.iter().enumerate() {
        let y = top + HEAD + at as f64 * STEP + BAR - 2.0;
        let name = if *honest {
            (*name).to_owned()
        } else {
            format!("{name} †")
        };
        match kind {
            Kind::Cairn | Kind::Variant => {
                svg.strong(NAMES - 8.0, y, &name, ACCENT, Anchor::End);
            }
            Kind::Raw => svg.text(NAMES - 8.0, y, &name, QUIET, Anchor::End),
            _ => svg.text(NAMES - 8.0, y, &name, INK, Anchor::End),
        }
    }
    for (number, panel) in row.iter().enumerate() {
        let left = NAMES + number as f64 * width;
        svg.strong(left, top + 12.0, &panel.title, INK, Anchor::Start);
        svg.line((left, top + HEAD - 4.0), (left, bottom), RULE, 1.0);
        let cairn = panel
            .bars
            .iter()
            .find(|bar| bar.kind == Kind::Cairn)
            .map(|bar| bar.value);
        for (at, (name, ..)) in order.iter().enumerate() {
            let Some(bar) = panel.bars.iter().find(|bar| bar.engine == *name) else {
                continue;
            };
            let colour = match bar.kind {
                Kind::Cairn | Kind::Variant => ACCENT,
                Kind::Raw => LIMIT,
                _ if !bar.honest => LIMIT,
                _ => PEER,
            };
            let y = top + HEAD + at as f64 * STEP;
            let (share, cut) = scale.share(panel, bar.value);
            let length = (share * (width - NUMBER - GAP)).max(1.0);
            svg.rect(left, y, length, BAR, colour);
            if cut {
                svg.line(
                    (left + length - 9.0, y + BAR),
                    (left + length - 5.0, y),
                    "#ffffff",
                    2.0,
                );
            }
            let ratio = match cairn {
                Some(cairn) if bar.kind != Kind::Cairn => {
                    format!("{} ({})", short(bar.value), times(bar.value / cairn))
                }
                _ => short(bar.value),
            };
            let ink = if matches!(bar.kind, Kind::Cairn | Kind::Variant) {
                ACCENT
            } else {
                QUIET
            };
            svg.text(
                left + length + 4.0,
                y + BAR - 2.0,
                &ratio,
                ink,
                Anchor::Start,
            );
        }
    }
    bottom
}

/// A ratio to Cairn in two digits.
fn times(ratio: f64) -> String {
    match ratio {
        it if it >= 9.95 => format!("{it:.0}"),
        it if it >= 0.095 => format!("{it:.1}"),
        it if it >= 0.0095 => format!("{it:.2}"),
        _ => "0".to_owned(),
    }
}
