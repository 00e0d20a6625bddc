//! The steps of a cycle, in the order in which [`Sampler`](crate::Sampler)
//! takes them: discover, measure, connect.

pub(crate) mod discover;
pub(crate) mod established;
mod first_io;
pub(crate) mod io_order;
mod measure;
pub(crate) mod socket_owners;
