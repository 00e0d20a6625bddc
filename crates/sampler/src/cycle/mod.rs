//! The steps of a cycle, in the order in which [`Sampler`](crate::Sampler)
//! takes them: discover, measure, connect.

pub(crate) mod connect;
pub(crate) mod discover;
pub(crate) mod families;
pub(crate) mod holders;
mod measure;
mod newborn;
