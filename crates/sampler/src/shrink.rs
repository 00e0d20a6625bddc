//! Releasing memory after a large population or a burst.
//!
//! One page stays, and so does a capacity of at most four times what is used: in steady state
//! nothing moves. Lists that are filled and emptied in each cycle shrink while they are full.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

const PAGE: usize = 4096;

/// Releases most of the memory that a list no longer uses.
pub(crate) fn shrink_vec<T>(list: &mut Vec<T>) {
    if let Some(capacity) = target_capacity::<T>(list.len(), list.capacity()) {
        list.shrink_to(capacity);
    }
}

/// The same for a map.
pub(crate) fn shrink_map<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if let Some(capacity) = target_capacity::<(K, V)>(map.len(), map.capacity()) {
        map.shrink_to(capacity);
    }
}

/// The capacity to shrink to, if that is much less than the current one.
fn target_capacity<T>(len: usize, capacity: usize) -> Option<usize> {
    let page = PAGE / size_of::<T>().max(1);
    (capacity > page && len < capacity / 4).then(|| (len * 2).max(page / 2))
}
