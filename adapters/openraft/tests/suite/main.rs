//! Does the store pass openraft's own suite, each case: as it is, and opened again between any two of its steps, after
//! power cuts, torn writes and failed syncs?

mod crashes;
#[path = "../../../../tests/common/gated.rs"]
mod gated;
#[cfg(feature = "openraft-010")]
mod machine010;
#[cfg(feature = "openraft-09")]
mod machine09;
#[cfg(feature = "openraft-010")]
mod nodes010;
#[cfg(feature = "openraft-010")]
mod restored010;
#[cfg(feature = "openraft-09")]
mod restored09;
#[path = "../../../../tests/common/unchanged.rs"]
mod unchanged;
#[cfg(feature = "openraft-010")]
mod v010;
#[cfg(feature = "openraft-09")]
mod v09;
mod world;
