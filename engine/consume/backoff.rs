//! How long a record waits until it is handed out again. Pure.

use std::time::Duration;

/// How long a record whose lease is dropped waits until it is handed out again.
///
/// ```
/// use cairnlog::Backoff;
/// use std::time::Duration;
/// // 1 s, 2 s, 4 s ... up to a minute, each by up to a fifth shorter.
/// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60)).jitter(20);
/// # let _ = backoff;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    jitter_percent: u8,
}

impl Backoff {
    /// Not at all.
    #[must_use]
    pub const fn none() -> Self {
        Self::constant(Duration::ZERO)
    }

    /// As long each time.
    #[must_use]
    pub const fn constant(delay: Duration) -> Self {
        Self::exponential(delay, delay)
    }

    /// So long after the first delivery, twice as long after each further one, at most `max`.
    #[must_use]
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            jitter_percent: 0,
        }
    }

    /// Shortens each by a random share, up to this one in percent, at most 100: so records that failed
    /// together do not come back together.
    #[must_use]
    pub const fn jitter(mut self, percent: u8) -> Self {
        self.jitter_percent = if percent > 100 { 100 } else { percent };
        self
    }

    /// How long it is after so many deliveries.
    pub(super) fn after(&self, delivery_count: u32, random: u64) -> Duration {
        let doublings = delivery_count.saturating_sub(1).min(31);
        let delay = self.first.saturating_mul(1 << doublings).min(self.max);
        let parts = u64::from(self.jitter_percent) * 100; // in ten thousandths
        let less = u32::try_from(random % (parts + 1)).unwrap_or(0);
        delay.saturating_sub(delay / 10_000 * less)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn how_long_does_a_record_wait() {
        let ms = Duration::from_millis;
        let doubled = Backoff::exponential(ms(100), ms(1500));
        let waits = [1, 2, 3, 4, 5, 6, u32::MAX].map(|count| doubled.after(count, 9));
        assert_eq!(waits, [100, 200, 400, 800, 1500, 1500, 1500].map(ms));
        assert_eq!(Backoff::constant(ms(7)).after(5, 1), ms(7));
        assert_eq!(Backoff::none().after(5, 1), Duration::ZERO);
        let jittered = Backoff::constant(ms(1000)).jitter(20);
        let waits: Vec<_> = (0..10_000)
            .map(|random| jittered.after(1, random * 7919))
            .collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*least >= ms(800) && *least < ms(802), "{least:?}");
        assert!(*most <= ms(1000) && *most > ms(998), "{most:?}");
        let long = Backoff::exponential(Duration::MAX, Duration::MAX).jitter(100);
        assert!(long.after(40, 1234) <= Duration::MAX);
    }
}
