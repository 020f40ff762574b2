//! Which of the pending effects reach the disk: one fate for each.
//!
//! INVARIANT: a choice is plain data that fully determines a crash state, so a failing case can be
//! printed and repeated. Made by tests and by `enumerate`, carried out by `crash`.

use std::fmt;

/// What becomes of one pending effect at a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It never reached the disk: what was there before stays.
    Lost,
    /// All of it reached the disk.
    Kept,
    /// Some of it did.
    Torn(Tear),
}

/// How an effect is torn.
///
/// A torn write harms bytes inside its own range and no others (powersafe overwrite is assumed).
/// Of a growing size, `Prefix` adds only so many bytes. Of a renamed file, every tear leaves both
/// names. Anything else cannot tear and is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tear {
    /// So many bytes from its beginning are written; behind them is what was there before.
    Prefix(u64),
    /// Of its 512-byte sectors some are written and some are not, as the seed has it.
    Sectors(u64),
    /// Its range is filled with zeros.
    Zeroed,
    /// Its range is filled with noise made from the seed.
    Garbage(u64),
    /// Each 512-byte sector is written, not written, zeroed or noise, as the seed has it.
    Mixed(u64),
}

/// A fate for each of the pending effects of a [`CrashPoint`](super::CrashPoint), in their order.
///
/// Effects beyond the end of the choice are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Choice {
    fates: Vec<Fate>,
}

impl Choice {
    /// All effects lost.
    pub fn lost() -> Self {
        Self::default()
    }

    /// So many effects kept.
    pub fn kept(effect_count: usize) -> Self {
        Self::from_iter(std::iter::repeat_n(Fate::Kept, effect_count))
    }

    /// The same choice with another fate for one effect.
    pub fn with(mut self, effect: usize, fate: Fate) -> Self {
        if effect >= self.fates.len() {
            self.fates.resize(effect + 1, Fate::Lost);
        }
        if let Some(old) = self.fates.get_mut(effect) {
            *old = fate;
        }
        self
    }

    /// What becomes of one effect.
    pub fn fate(&self, effect: usize) -> Fate {
        self.fates.get(effect).copied().unwrap_or(Fate::Lost)
    }

    /// The fates in order, and then losses without end.
    pub(super) fn fates(&self) -> impl Iterator<Item = Fate> {
        let chosen = self.fates.iter().copied();
        chosen.chain(std::iter::repeat(Fate::Lost))
    }
}

impl FromIterator<Fate> for Choice {
    fn from_iter<I: IntoIterator<Item = Fate>>(fates: I) -> Self {
        Self {
            fates: fates.into_iter().collect(),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.pad("lost"),
            Self::Kept => f.pad("kept"),
            Self::Torn(Tear::Prefix(bytes)) => f.pad(&format!("torn at {bytes}")),
            Self::Torn(Tear::Sectors(_)) => f.pad("torn by sector"),
            Self::Torn(Tear::Zeroed) => f.pad("zeroed"),
            Self::Torn(Tear::Garbage(_)) => f.pad("garbage"),
            Self::Torn(Tear::Mixed(_)) => f.pad("torn and mixed"),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fate) in self.fates.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{fate}")?;
        }
        Ok(())
    }
}
