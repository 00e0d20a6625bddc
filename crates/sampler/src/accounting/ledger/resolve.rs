//! Resolving exits: where the counters of the exited processes went.

use std::collections::HashMap;

use super::{Account, Counters, ExitedAccount, Ledger, OTHERS};
use crate::ids::Slot;
use crate::image::ImageIndex;
use crate::shrink::{shrink_map, shrink_vec};
use crate::source::ParentStat;

/// After this number of attempts without a reading of the inheritor, its readings are not
/// waited for any more.
const MAX_SETTLES_WITHOUT_READ: u8 = 8;

/// Where the counters of an exited process went.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolution {
    /// They are in the counters of one of these accounts, as far as its growth allows; if the
    /// list is empty, in those of no tracked process.
    InheritedBy(Vec<Slot>),
    /// Unknown before an ancestor has been read.
    Pending,
}

/// Reads processes as parents.
pub(crate) trait ReadParent {
    /// Reads a listed process; `None` if it has exited or cannot be read.
    async fn read_parent(&mut self, slot: Slot) -> Option<ParentStat>;
}

/// The facts of one resolution.
struct Facts<R, C> {
    /// Reads a listed process as a parent.
    read: R,
    parents: HashMap<Slot, Option<ParentStat>>,
    /// Growth of accounts that is not attributed to a child yet.
    unattributed: HashMap<Slot, C>,
    /// The part of an account's growth that is excluded from the sum of an image.
    excluded: HashMap<(Slot, ImageIndex), C>,
}

impl<R: ReadParent, C> Facts<R, C> {
    async fn parent(&mut self, slot: Slot) -> Option<ParentStat> {
        if let Some(&known) = self.parents.get(&slot) {
            return known;
        }
        let parent = self.read.read_parent(slot).await;
        self.parents.insert(slot, parent);
        parent
    }
}

impl<C: Counters> Ledger<C> {
    /// Resolves the exits, after the readings of a cycle. `read` reads listed processes as
    /// parents, `parent` gives the parent of a process. `resolved` is called with each account
    /// that is resolved; it stays known as exited until it is [forgotten](Self::forget_closed).
    pub(crate) async fn resolve_exits(
        &mut self,
        read: impl ReadParent,
        parent: impl Fn(Slot) -> Option<Slot>,
        mut resolved: impl FnMut(Slot),
    ) {
        let mut facts = Facts {
            read,
            parents: HashMap::new(),
            unattributed: HashMap::new(),
            excluded: HashMap::new(),
        };
        let mut exited = std::mem::take(&mut self.exited);
        shrink_vec(&mut exited);
        if !exited.is_empty() {
            // Parents first: a grandparent that inherited the child inherited the parent too.
            for account in &mut exited {
                account.depth = self.exited_ancestors(account.slot, &parent);
                account.adopted |= self.exited_parent(account.slot).is_some_and(|parent| {
                    parent.is_some_and(|parent| self.exited_parent(parent).is_some())
                });
            }
            exited.sort_unstable_by_key(|account| (account.depth, account.slot));
            for account in exited.iter_mut().filter(|account| !account.is_closed) {
                account.age = account.age.saturating_add(1);
                account.resolution = self.resolve(account, &mut facts, &parent).await;
            }
            // An ancestor may be resolved, and its slot reused, before an account that is still
            // pending or not free: link each to the nearest ancestor that is left.
            for account in &exited {
                let inheritor = self.nearest_live_ancestor(account.slot);
                self.account(account.slot).exited = Some(inheritor);
            }
            // Children first: io that a child passes on to a parent that has exited too is
            // passed on with the parent's.
            for account in exited.iter_mut().rev().filter(|account| !account.is_closed) {
                if let Resolution::InheritedBy(inheritors) = &account.resolution {
                    self.close(account.slot, inheritors, &mut facts);
                    account.resolution = Resolution::Pending;
                    account.is_closed = true;
                    resolved(account.slot);
                }
            }
        }
        self.exited = exited;
        self.apply_deferred(&mut facts);
        for (slot, now) in std::mem::take(&mut facts.parents) {
            let Some(ParentStat { cminflt: now, .. }) = now else { continue };
            let since = self.pass.wrapping_add(1);
            let known = &mut self.account(slot).cminflt;
            if known.is_none_or(|(before, _)| before != now) {
                *known = Some((now, since));
            }
        }
        self.settle_debts(&facts);
        self.settle();
    }

    /// Updates what was excluded in excess of the growth.
    fn settle_debts<R>(&mut self, facts: &Facts<R, C>) {
        let is_debt = |debt: C| !C::default().all_ge(debt);
        if self.rounding == C::default() {
            return;
        }
        if facts.unattributed.is_empty() && facts.excluded.is_empty() {
            // Without an allocation.
            let mut debts = std::mem::take(&mut self.debts);
            debts.retain(|&slot, debt| {
                *debt = debt.saturating_sub(self.shown_growth(slot).or_zero());
                is_debt(*debt)
            });
            self.debts = debts;
            return;
        }
        let mut left: HashMap<Slot, C> = facts.unattributed.clone();
        for (&(slot, _), &excluded) in &facts.excluded {
            let growth = self.growth(slot);
            let left = left.entry(slot).or_insert(growth);
            *left = left.clamp_to(growth.saturating_sub(excluded));
        }
        for &slot in self.debts.keys() {
            left.entry(slot).or_insert_with(|| self.growth(slot));
        }
        for (slot, left) in left {
            let debt = self.rounding.saturating_sub(left.clamp_to(self.rounding).or_zero());
            if is_debt(debt) {
                self.debts.insert(slot, debt);
            } else {
                self.debts.remove(&slot);
            }
        }
        shrink_map(&mut self.debts);
    }

    /// The parent of an exited process; `None` if it has not exited.
    fn exited_parent(&self, slot: Slot) -> Option<Option<Slot>> {
        self.get(slot)?.exited
    }

    /// The parent of a process, exited or not.
    fn parent_of(&self, slot: Slot, parent: impl Fn(Slot) -> Option<Slot>) -> Option<Slot> {
        self.exited_parent(slot).unwrap_or_else(|| parent(slot))
    }

    /// The ancestors of a process, exited or not. A cycle of parents is impossible; if there
    /// were one, the number of accounts would end it.
    pub(super) fn ancestors(
        &self,
        slot: Slot,
        parent: impl Fn(Slot) -> Option<Slot>,
    ) -> impl Iterator<Item = Slot> {
        let above = move |&slot: &Slot| self.parent_of(slot, &parent);
        std::iter::successors(above(&slot), above).take(self.accounts.len())
    }

    /// How many of its ancestors have exited too.
    fn exited_ancestors(&self, slot: Slot, parent: impl Fn(Slot) -> Option<Slot>) -> usize {
        self.ancestors(slot, parent).filter(|&slot| self.exited_parent(slot).is_some()).count()
    }

    /// The nearest ancestor of an exited process that has not exited.
    fn nearest_live_ancestor(&self, slot: Slot) -> Option<Slot> {
        self.ancestors(slot, |_| None).find(|&slot| self.exited_parent(slot).is_none())
    }

    async fn resolve(
        &mut self,
        exited: &ExitedAccount,
        facts: &mut Facts<impl ReadParent, C>,
        parent: &impl Fn(Slot) -> Option<Slot>,
    ) -> Resolution {
        let account = self.account(exited.slot);
        if account.after_parent_read {
            return Resolution::Pending;
        }
        let needed = account.last.unwrap_or_default().as_inherited();
        let alive = self.last_alive_pass.get(exited.slot as usize).copied().unwrap_or(0);
        let mut inheritors = Vec::new();
        // Accounts that may have it, though others claim the same growth.
        let mut disputed = Vec::new();
        let (mut adopted, mut late, mut found) = (exited.adopted, false, false);
        let mut below = exited.slot;
        for _ in 0..self.accounts.len() {
            let Some(slot) = self.parent_of(below, parent) else { break };
            below = slot;
            let reads = self.reads();
            let account = self.account(slot);
            let (is_read, is_new) = (account.is_read(), account.is_new(reads));
            let begins = account.begins_with_baseline;
            if account.exited.is_some() {
                late |= account.after_parent_read;
                adopted = true;
                // It may have been read after the exit of the child.
                if is_new && self.growth(slot).all_ge(needed) {
                    if self.attribute(slot, needed, facts) {
                        found = true;
                        inheritors.push(slot);
                        if self.is_member_of_all_images_of(slot, exited.slot) {
                            return Resolution::InheritedBy(inheritors);
                        }
                    } else {
                        disputed.push(slot);
                    }
                } else if begins {
                    disputed.push(slot);
                }
                continue;
            }
            // While its parent lives, no other process inherits it. A zombie is listed until
            // its own parent waits for it.
            adopted |= facts.parent(slot).await.is_none_or(|parent| parent.is_zombie);
            let may_have_it = !(is_read && is_new) || begins || self.growth(slot).all_ge(needed);
            if may_have_it && self.may_have_inherited(slot, alive, facts).await {
                // Not once the growth of a nearer ancestor in this cycle allows it.
                let is_first = inheritors.is_empty() && disputed.is_empty();
                // Nor once that of an ancestor further up does, in which it counts already.
                let is_awaited =
                    is_first && !(adopted && self.any_above_grew(slot, needed, parent));
                if is_read && !is_new && exited.age < MAX_SETTLES_WITHOUT_READ && is_awaited {
                    return Resolution::Pending;
                }
                // Of a process that is not read nothing is known; it carries what is counted
                // already.
                let is_attributed = is_read && is_new && self.attribute(slot, needed, facts);
                if is_attributed || !(is_read && is_new) {
                    found |= is_attributed;
                    inheritors.push(slot);
                    let is_clear =
                        is_attributed && self.is_member_of_all_images_of(slot, exited.slot);
                    if !adopted || is_clear {
                        return Resolution::InheritedBy(inheritors);
                    }
                } else {
                    disputed.push(slot);
                }
            }
            if !adopted {
                break;
            }
        }
        if late && !found {
            // It may come with that ancestor, after all readings of this cycle.
            return Resolution::Pending;
        }
        inheritors.extend(disputed);
        Resolution::InheritedBy(inheritors)
    }

    /// Whether an ancestor was read in this cycle and has grown by these counters.
    fn any_above_grew(
        &self,
        slot: Slot,
        needed: C,
        parent: &impl Fn(Slot) -> Option<Slot>,
    ) -> bool {
        let reads = self.reads();
        let has_grown = |slot: Slot| {
            let is_new = self.get(slot).is_some_and(|it| it.is_read() && it.is_new(reads));
            is_new && self.growth(slot).all_ge(needed)
        };
        needed != C::default() && self.ancestors(slot, parent).any(has_grown)
    }

    /// Whether an account is a member of all images that an exited one has to do with: then
    /// it does not matter which of several such accounts has its counters.
    fn is_member_of_all_images_of(&self, slot: Slot, exited: Slot) -> bool {
        let memberships = self.get(exited).map_or(&[][..], |account| &account.memberships);
        memberships.iter().all(|membership| {
            self.get(slot).is_some_and(|account| account.is_member(membership.image))
        })
    }

    /// The growth of an account that children can have caused, as far as the readings show it.
    fn shown_growth(&self, slot: Slot) -> C {
        let Some(account) = self.get(slot) else { return C::default() };
        let shown = match (account.last, account.settled) {
            (Some(last), Some(settled)) => last.saturating_sub(settled),
            // All of it may be that of its children.
            (Some(last), None) => last,
            (None, _) => C::default(),
        };
        shown.of_children()
    }

    /// The same with what the kernel may not show yet. Nothing of an account without a reading.
    fn growth(&self, slot: Slot) -> C {
        if self.last(slot).is_none() {
            return C::default();
        }
        self.shown_growth(slot).saturating_add(self.allowance(slot))
    }

    /// How much more than a reading shows may come from children.
    fn allowance(&self, slot: Slot) -> C {
        match self.debts.get(&slot) {
            Some(&debt) => self.rounding.saturating_sub(debt),
            None => self.rounding,
        }
    }

    /// Attributes a part of the growth of an account to a child, if there is enough.
    fn attribute<R>(&self, slot: Slot, needed: C, facts: &mut Facts<R, C>) -> bool {
        let left = facts.unattributed.entry(slot).or_insert_with(|| self.growth(slot));
        let is_enough = left.all_ge(needed);
        if is_enough {
            *left = left.saturating_sub(needed);
        }
        is_enough
    }

    /// Whether a live process can have inherited a child that existed in pass `alive`, by its
    /// `cminflt`.
    async fn may_have_inherited(
        &mut self,
        slot: Slot,
        alive: u32,
        facts: &mut Facts<impl ReadParent, C>,
    ) -> bool {
        let now = facts.parent(slot).await.map(|parent| parent.cminflt);
        match (now, self.account(slot).cminflt) {
            (Some(0), _) => false,
            (Some(now), Some((before, since))) if since <= alive && now == before => false,
            _ => {
                if now.is_some() {
                    self.note_alive(slot, self.pass);
                }
                true
            }
        }
    }

    fn close<R>(&mut self, slot: Slot, inheritors: &[Slot], facts: &mut Facts<R, C>) {
        let account = self.accounts.get_mut(slot as usize).and_then(Option::take);
        let Some(account) = account else { return };
        self.account(slot).exited = account.exited;
        self.exclude_past_of(slot, &account, inheritors, facts);
        for membership in &account.memberships {
            let image = membership.image;
            let mut counted = membership.offset.get();
            if membership.member
                && let Some(last) = account.last
            {
                self.totals_of(image).add(last.saturating_sub(membership.offset.get()));
                counted = last;
            }
            let deferred = self.deferred.remove(&(slot, image)).unwrap_or_default();
            let counted = counted.saturating_add(deferred).as_inherited();
            self.exclude_in(image, counted, inheritors, facts);
        }
    }

    /// The excluded past of an exited process is now a part of its inheritors' counters: of
    /// those images that only the inheritors have to do with. The others have it in their own
    /// offsets.
    fn exclude_past_of<R>(
        &mut self,
        slot: Slot,
        account: &Account<C>,
        inheritors: &[Slot],
        facts: &mut Facts<R, C>,
    ) {
        let Some(others) = account.others() else { return };
        let deferred = self.deferred.get(&(slot, OTHERS)).copied().unwrap_or_default();
        let past = others.offset.get().saturating_add(deferred).as_inherited();
        let images = |slot: &Slot| {
            let memberships = self.get(*slot).map_or(&[][..], |account| &account.memberships);
            memberships.iter().map(|membership| membership.image)
        };
        let mut images: Vec<ImageIndex> = inheritors.iter().flat_map(images).collect();
        images.retain(|&image| account.position(image).is_err());
        images.sort_unstable();
        images.dedup();
        for image in images {
            self.exclude_in(image, past, inheritors, facts);
        }
    }

    /// Excludes counters from those of the inheritors, up to the first that certainly has them.
    fn exclude_in<R>(
        &mut self,
        image: ImageIndex,
        counted: C,
        inheritors: &[Slot],
        facts: &mut Facts<R, C>,
    ) {
        for &inheritor in inheritors {
            self.exclude_already_counted(inheritor, image, counted, facts);
            let reads = self.reads();
            let inheritor = self.account(inheritor);
            // Of a process that was not read it is not known.
            if inheritor.is_read() && inheritor.is_new(reads) && inheritor.member(image).is_some() {
                break;
            }
        }
    }

    /// Keeps counters that are counted already, and now are part of an account's too, from
    /// being counted in these again.
    fn exclude_already_counted<R>(
        &mut self,
        slot: Slot,
        image: ImageIndex,
        counted: C,
        facts: &mut Facts<R, C>,
    ) {
        if self.account(slot).position(image).is_err() {
            self.ensure_membership(slot, image);
            if let Some(&excluded) = facts.excluded.get(&(slot, OTHERS)) {
                facts.excluded.insert((slot, image), excluded);
            }
        }
        let (growth, allowance) = (self.growth(slot), self.allowance(slot));
        let reads = self.reads();
        let account = self.account(slot);
        let (is_read, is_new) = (account.is_read(), account.is_new(reads));
        let begins = account.begins_with_baseline;
        let (last, settled) = (account.last.unwrap_or_default(), account.settled);
        let (membership, shared) = account.membership(image);
        let offset = membership.offset.get();
        if membership.unread && is_new {
            // It is part of the first reading, which is the offset.
        } else if !is_read || (is_new && begins && !membership.member) {
            membership.offset.set(offset.saturating_add(counted), shared);
        } else if !is_new {
            let deferred = self.deferred.entry((slot, image)).or_default();
            *deferred = deferred.saturating_add(counted);
        } else {
            // No more than its growth, or the sum would fall.
            let excluded = facts.excluded.entry((slot, image)).or_default();
            let room = match settled {
                _ if membership.member && (settled.is_none() || begins) => {
                    last.saturating_sub(offset).of_children().saturating_add(allowance)
                }
                _ => growth.saturating_sub(*excluded),
            };
            let part = counted.clamp_to(room.or_zero());
            *excluded = excluded.saturating_add(part);
            membership.offset.set(offset.saturating_add(part), shared);
        }
    }

    /// Applies the deferred charges of the accounts that were read again, to the growth that
    /// is left.
    fn apply_deferred<R>(&mut self, facts: &mut Facts<R, C>) {
        if self.deferred.is_empty() {
            return;
        }
        let deferred = std::mem::take(&mut self.deferred);
        for ((slot, image), counted) in deferred {
            // Those of an account that was not read stay deferred.
            self.exclude_already_counted(slot, image, counted, facts);
        }
    }
}
