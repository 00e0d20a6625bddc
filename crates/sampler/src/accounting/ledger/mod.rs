//! The ledger: the counters of an image never fall and count nothing twice, whatever its
//! processes do. It reads nothing: readings and events go in, sums come out. There is one for each
//! kind of [`Counters`]: io, and CPU time.
//!
//! # The problem
//! A process that exits takes its counters with it, so its last reading has to stay in the
//! sum of its image. But when a parent waits for it, the kernel adds the final counters of
//! the child to the parent's, and then the last reading has to be removed, or it counts
//! twice. Between the two there may be processes of other images, and processes that
//! changed image.
//!
//! # Accounts
//! Each tracked process has an account: its last reading, and a *membership* for each image
//! that it has to do with:
//!
//! * a member of the image contributes `last − offset`;
//! * a process that is not a member (it left the image, or is between a member and an ancestor
//!   that is one) contributes nothing, but its `offset` is the part of its counters that is
//!   counted already, in case they are added to those of a member.
//!
//! The value of an image is `from_exited + Σ (last − offset)` over its members.
//!
//! # The invariant
//! *The last reading of an account contains nothing of a process that still has an account
//! of its own.* The order of the reads keeps it: children before parents, and after each
//! parent a check whether the children still exist ([`Ledger::accept`],
//! [`Ledger::discard_read`]).
//!
//! # Processes that could not be read
//! A process that joins an image and cannot be read at that moment takes its offset from
//! the first reading that succeeds; until then it contributes nothing.
//!
//! # From before the first cycle
//! In a ledger of a collector, io from before the first cycle counts in no image. A process
//! from before it ([`Ledger::exclude_past`]) has a membership of [`OTHERS`], an image that
//! stands for all those that its account has no membership of. Its offset is the first reading,
//! which other memberships begin with; it is passed on to the inheritor as other offsets are.
//! So an image has no part in it, whichever process inherits it. Such a process has an account
//! also if it belongs to no image and an ancestor does.
//!
//! A membership without an offset of its own begins with the readings of one cycle: all that is
//! read until exits are resolved is one first reading.
//!
//! # Inherited or lost?
//! Two facts can show that a parent did not inherit the counters of a child (because it
//! ignores `SIGCHLD`, for example):
//!
//! * The kernel adds the page faults of the child to the parent's `cminflt` in the same step
//!   as its io. If `cminflt` is what it was when the child was last known to live, the
//!   parent has inherited from no child.
//! * If the parent inherited the counters, each of its seven grew by at least the last reading
//!   of the child. If one grew by less, it did not.
//!
//! If both allow it, inheritance is assumed, for no more than the growth that no other child
//! explains: then the sum can miss something, but never falls or counts twice.
//!
//! Which of several ancestors? The parent, while that lives. If the parent has exited, still
//! listed as a zombie or not, it may have inherited the child before its own last reading;
//! or the next ancestor has both; or the child was adopted by one further up. The nearest
//! whose growth allows it is taken. If that is not a member of the image, its offset remembers
//! what is counted, and since a member further up may have it nevertheless, the nearest of
//! those whose growth allows it is charged too. An ancestor that exited after the reading of
//! its own inheritor passes on what it had from its children with the next reading: a child
//! that no growth explains waits for that.
//!
//! The growth is evidence as far as the kernel shows it exactly: it shows CPU time of children in
//! ticks, each sum cut down. So a ledger allows for a [`rounding`](Ledger::with_rounding): the
//! growth may be that much more than the readings show. An exclusion in excess of the shown
//! growth is the account's debt, and reduces the allowance until its readings show it.
//!
//! A parent that cannot be read for long does not keep the accounts of its children open
//! indefinitely: their io is counted, and a charge is *deferred* to the parent's next
//! reading, which applies it, out of its growth.

mod counters;
mod resolve;

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

pub(crate) use self::counters::Counters;
pub(crate) use self::resolve::ReadParent;
use crate::ids::Slot;
use crate::image::ImageIndex;
use crate::shrink::shrink_vec;

/// Stands for every image that an account has no membership of. It has no members.
const OTHERS: ImageIndex = ImageIndex(u32::MAX);

#[derive(Debug, Default)]
pub(crate) struct Ledger<C> {
    images: Vec<ImageTotals<C>>,
    /// By slot. Boxed, so that an empty slot below a used one costs a pointer.
    accounts: Vec<Option<Box<Account<C>>>>,
    /// Exited processes whose accounts are not resolved yet.
    exited: Vec<ExitedAccount>,
    /// Counts the passes over all processes.
    pass: u32,
    /// How often exits were resolved.
    settled: u32,
    /// The accounts that may have changed since then.
    unsettled: Vec<Slot>,
    /// By slot: the last pass in which the process existed after `cminflt` was read. Apart from the
    /// accounts, since most change in nothing else.
    last_alive_pass: Vec<u32>,
    /// The counters of children in accounts that cannot be read; they are counted already.
    deferred: HashMap<(Slot, ImageIndex), C>,
    /// By this much less than the truth a reading may show of children, since the kernel rounds.
    rounding: C,
    /// By account, the exclusions in excess of its growth, because the kernel rounds: at most
    /// `rounding`.
    debts: HashMap<Slot, C>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ImageTotals<C> {
    /// The counters of processes that are no longer members.
    from_exited: C,
    /// Whether anything of this image was ever read.
    read: bool,
}

#[derive(Debug, Default)]
struct Account<C> {
    /// The last accepted reading.
    last: Option<C>,
    /// The accepted reading when exits were last resolved: `last − settled` is the growth
    /// that children may have caused since.
    settled: Option<C>,
    /// When its last reading was accepted, as [`Ledger::reads`]; 0: never, or it was discarded.
    read_in: u32,
    /// It has no reading after its baseline yet. That can contain children whose exits are not
    /// resolved, which its growth does not show.
    begins_with_baseline: bool,
    /// It is in the list of those that may have changed.
    is_unsettled: bool,
    /// Page faults of the children that it waited for, and the pass before which they were
    /// read.
    cminflt: Option<(u64, u32)>,
    /// The process has exited; the account of its parent.
    exited: Option<Option<Slot>>,
    /// It exited since exits were last resolved, and after the reading of its inheritor,
    /// which therefore contains neither it nor what it had from its own children.
    after_parent_read: bool,
    /// Sorted by image: a process can belong to thousands.
    memberships: SmallVec<[Membership<C>; 1]>,
    /// The offset that was set last.
    shared_offset: Offset<C>,
}

#[derive(Debug)]
struct Membership<C> {
    image: ImageIndex,
    member: bool,
    /// The first reading will be the offset, or is, until exits are resolved.
    unread: bool,
    offset: Offset<C>,
}

/// The offset of a membership; `None` is zero. Equal ones of an account are shared: a process can
/// belong to thousands of images, and most of its offsets are equal.
#[derive(Clone, Debug, Default)]
struct Offset<C>(Option<Arc<C>>);

impl<C: Counters> Offset<C> {
    fn get(&self) -> C {
        self.0.as_deref().copied().unwrap_or(C::default())
    }

    /// Sets it; `shared` is the offset that was set last in the account.
    fn set(&mut self, offset: C, shared: &mut Offset<C>) {
        if self.get() == offset {
            return;
        }
        if shared.get() != offset {
            *shared = Offset((offset != C::default()).then(|| Arc::new(offset)));
        }
        *self = shared.clone();
    }
}

#[derive(Debug)]
struct ExitedAccount {
    slot: Slot,
    /// It is resolved, but its slot is not free: other ledgers have not resolved it.
    is_closed: bool,
    /// How often it could not be resolved.
    age: u8,
    /// How many of its ancestors have exited too; set while resolving.
    depth: usize,
    /// Its parent may have exited before it.
    adopted: bool,
    resolution: resolve::Resolution,
}

impl<C: Counters> Ledger<C> {
    /// A ledger of counters of which a reading may show up to `rounding` too little of children.
    pub(crate) fn with_rounding(rounding: C) -> Ledger<C> {
        Ledger { rounding, ..Ledger::default() }
    }

    /// Makes room for this number of images.
    pub(crate) fn ensure_images(&mut self, count: usize) {
        if self.images.len() < count {
            self.images.resize(count, ImageTotals::default());
        }
    }

    /// Forgets images, given in ascending order: their sums, and what all accounts have in them.
    /// Afterwards their numbers are those of images that nothing is known of.
    pub(crate) fn release_images(&mut self, images: &[ImageIndex]) {
        let is_released = |image: &ImageIndex| images.binary_search(image).is_ok();
        for image in images {
            if let Some(totals) = self.images.get_mut(image.index()) {
                *totals = ImageTotals::default();
            }
        }
        for account in self.accounts.iter_mut().flatten() {
            account.memberships.retain(|membership| !is_released(&membership.image));
        }
        self.deferred.retain(|(_, image), _| !is_released(image));
    }

    /// Opens an account without a membership.
    pub(crate) fn open(&mut self, slot: Slot) {
        self.debts.remove(&slot);
        let account = self.account(slot);
        *account = Account { is_unsettled: true, ..Account::default() };
        self.note_alive(slot, 0);
    }

    /// The counters of a process from before the first cycle count in no image, up to its first
    /// reading.
    pub(crate) fn exclude_past(&mut self, slot: Slot) {
        self.account(slot).membership(OTHERS).0.unread = true;
    }

    /// Whether the first reading of such a process is still to come.
    pub(crate) fn has_unread_past(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(|account| {
            account.memberships.last().is_some_and(|last| last.image == OTHERS && last.unread)
        })
    }

    /// Begins a pass: reads of `cminflt` where [`Ledger::knows_cminflt`] is false, then reads
    /// of io.
    pub(crate) fn begin_pass(&mut self) {
        self.pass = self.pass.wrapping_add(1);
    }

    /// Whether the `cminflt` of a parent can be compared with an earlier one.
    pub(crate) fn knows_cminflt(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(|account| account.cminflt.is_some())
    }

    /// Notes the `cminflt` of a process in this pass.
    pub(crate) fn note_cminflt(&mut self, slot: Slot, cminflt: u64) {
        let pass = self.pass;
        self.account(slot).cminflt = Some((cminflt, pass));
    }

    /// Makes room for the memberships of this number of further images.
    pub(crate) fn reserve(&mut self, slot: Slot, images: usize) {
        // Most processes belong to one image.
        let memberships = &mut self.account(slot).memberships;
        memberships.reserve_exact(images);
    }

    /// Adds a process to an image to which it has belonged since its start, or since before
    /// the first cycle: all its io counts, except an excluded past.
    pub(crate) fn join_with_history(&mut self, slot: Slot, image: ImageIndex) {
        self.ensure_images(image.index() + 1);
        self.ensure_membership(slot, image);
        // Except what is counted already of the children that it has waited for.
        self.account(slot).membership(image).0.member = true;
    }

    /// Adds a process to an image that begins now: its io until the end of this cycle does not
    /// count in the image, or until its next reading if there is none in this cycle.
    pub(crate) fn join_at_next_reading(&mut self, slot: Slot, image: ImageIndex) {
        self.join(slot, image);
        self.account(slot).membership(image).0.unread = true;
    }

    /// Adds a process to an image that belonged to others or none: its io until its last
    /// reading does not count in the image, or until its next one if it has none.
    pub(crate) fn join(&mut self, slot: Slot, image: ImageIndex) {
        self.ensure_images(image.index() + 1);
        self.ensure_membership(slot, image);
        let account = self.account(slot);
        let last = account.last;
        let (membership, shared) = account.membership(image);
        membership.member = true;
        membership.unread = last.is_none();
        // Until then the part that was counted before stays known.
        if let Some(last) = last {
            membership.offset.set(last, shared);
        }
    }

    /// Sets the baseline of an account that was not read, or not lately, and is about to join
    /// an image: a reading, if there is one. Growth after it may come from children.
    pub(crate) fn set_baseline(&mut self, slot: Slot, reading: Option<C>) {
        let account = self.account(slot);
        account.last = reading;
        account.settled = reading;
        account.read_in = 0;
        account.begins_with_baseline = true;
        if let Some(reading) = reading {
            self.note_alive(slot, self.pass);
            self.apply_first_reading(slot, reading);
        }
    }

    /// The first reading of an account: it contains the deferred charges, and earlier charges
    /// that exceed it were never in its counters.
    fn apply_first_reading(&mut self, slot: Slot, reading: C) {
        let account = self.accounts.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let Some(account) = account else { return };
        let Account { memberships, shared_offset, .. } = account;
        let most = reading.saturating_add(self.rounding);
        for membership in memberships {
            let deferred = self.deferred.remove(&(slot, membership.image)).unwrap_or_default();
            let offset = if membership.unread {
                reading
            } else {
                membership.offset.get().saturating_add(deferred).clamp_to(most)
            };
            membership.offset.set(offset, shared_offset);
        }
    }

    /// Removes a process from an image; its io there stays counted.
    pub(crate) fn leave(&mut self, slot: Slot, image: ImageIndex) {
        let account = self.account(slot);
        let last = account.last;
        let has_unread_past = account.others().is_some_and(|others| others.unread);
        let Some((membership, shared)) = account.member(image) else { return };
        membership.member = false;
        if std::mem::replace(&mut membership.unread, has_unread_past) {
            return;
        }
        if let Some(last) = last {
            let done = last.saturating_sub(membership.offset.get());
            membership.offset.set(last, shared);
            self.totals_of(image).add(done);
        }
    }

    /// The last accepted reading.
    pub(crate) fn last(&self, slot: Slot) -> Option<C> {
        self.get(slot).and_then(|account| account.last)
    }

    /// Accepts a reading: every child with an account still existed after it, or its exit is
    /// reported before exits are resolved. True if children can have caused a difference from the
    /// last one.
    pub(crate) fn accept(&mut self, slot: Slot, reading: C) -> bool {
        self.note_alive(slot, self.pass);
        let reads = self.reads();
        if let Some(account) = self.accounts.get_mut(slot as usize).and_then(Option::as_deref_mut)
            && account.last == Some(reading)
            && account.settled == account.last
            && !account.awaits_reading()
            && !account.begins_with_baseline
        {
            account.read_in = reads;
            return false;
        }
        let account = self.account(slot);
        let before = account.last.replace(reading).map(C::of_children);
        let differs = before != Some(reading.of_children());
        account.read_in = reads;
        if account.settled.is_none() {
            self.apply_first_reading(slot, reading);
        } else {
            let Account { memberships, shared_offset, .. } = account;
            for membership in memberships.iter_mut().filter(|membership| membership.unread) {
                membership.offset.set(reading, shared_offset);
            }
        }
        differs
    }

    /// The process still existed in this pass.
    pub(crate) fn mark_alive(&mut self, slot: Slot) {
        self.note_alive(slot, self.pass);
    }

    /// Accepts a new value of the process's own part. The part of its children is that of the last
    /// reading, without which there is nothing to update.
    pub(crate) fn update_own(&mut self, slot: Slot, own: C) {
        if self.get(slot).is_none() {
            return;
        }
        let account = self.account(slot);
        let Some(last) = &mut account.last else { return };
        let reading = own.with_children_of(*last);
        *last = reading;
        let Account { memberships, shared_offset, .. } = account;
        for membership in memberships.iter_mut().filter(|membership| membership.unread) {
            membership.offset.set(reading, shared_offset);
        }
    }

    /// Whether a membership of the account begins with its next reading.
    pub(crate) fn awaits_reading(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(Account::awaits_reading)
    }

    /// Calls `each` with the accounts that may have inherited one that has exited and is not
    /// resolved. `parent` gives the parent of a process.
    pub(crate) fn for_each_possible_inheritor(
        &self,
        parent: impl Fn(Slot) -> Option<Slot>,
        mut each: impl FnMut(Slot),
    ) {
        for exited in self.exited.iter().filter(|account| !account.is_closed) {
            self.ancestors(exited.slot, &parent).for_each(&mut each);
        }
    }

    /// Discards the readings since exits were last resolved: a child may have exited before
    /// or after them. The process's own part stays.
    pub(crate) fn discard_read(&mut self, slot: Slot) {
        let account = self.account(slot);
        let settled = account.settled;
        account.last = settled
            .map(|settled| account.last.map_or(settled, |last| last.with_children_of(settled)));
        account.read_in = 0;
    }

    /// A process has exited; `parent` is the account of its last known parent, exited itself
    /// or not. It exited before the reading of its parent, or that one was discarded.
    pub(crate) fn mark_exited(&mut self, slot: Slot, parent: Option<Slot>) {
        self.retire(slot, parent, false);
    }

    /// The same for a process that may have exited after the reading of its parent: the next
    /// reading will show it.
    pub(crate) fn mark_exited_after_parent_read(&mut self, slot: Slot, parent: Option<Slot>) {
        self.retire(slot, parent, true);
    }

    fn retire(&mut self, slot: Slot, parent: Option<Slot>, after_parent_read: bool) {
        let account = self.account(slot);
        account.exited = Some(parent);
        account.after_parent_read = after_parent_read;
        let resolution = resolve::Resolution::Pending;
        self.exited.push(ExitedAccount {
            slot,
            is_closed: false,
            age: 0,
            depth: 0,
            adopted: false,
            resolution,
        });
    }

    /// Counts a process in an image that had no account, whose counters no account has.
    pub(crate) fn count_ended(&mut self, image: ImageIndex, counters: C) {
        self.totals_of(image).add(counters);
    }

    /// Forgets resolved accounts: their slots are free.
    pub(crate) fn forget_closed(&mut self, mut is_free: impl FnMut(Slot) -> bool) {
        let accounts = &mut self.accounts;
        self.exited.retain(|exited| {
            let is_forgotten = exited.is_closed && is_free(exited.slot);
            if is_forgotten && let Some(account) = accounts.get_mut(exited.slot as usize) {
                *account = None;
            }
            !is_forgotten
        });
    }

    /// Releases the memory of the accounts from this slot on, which no process has.
    pub(crate) fn truncate(&mut self, end: Slot) {
        if self.accounts.len() > end as usize {
            self.accounts.truncate(end as usize);
            shrink_vec(&mut self.accounts);
            self.last_alive_pass.truncate(end as usize);
            shrink_vec(&mut self.last_alive_pass);
        }
    }

    /// Writes the counters of each image into `totals`, by image number; `None` where nothing
    /// was ever read.
    pub(crate) fn totals(&self, totals: &mut [Option<C>]) {
        for (image, total) in self.images.iter().zip(&mut *totals) {
            *total = image.read.then_some(image.from_exited);
        }
        for account in self.accounts.iter().flatten() {
            let Some(last) = account.last else { continue };
            for membership in account.memberships.iter().filter(|m| m.member && !m.unread) {
                let image = membership.image.index();
                if let Some(total) = totals.get_mut(image) {
                    let sum = total.unwrap_or(self.images[image].from_exited);
                    *total = Some(sum.saturating_add(last.saturating_sub(membership.offset.get())));
                }
            }
        }
    }

    /// A new membership continues that of [`OTHERS`], with the charges deferred there.
    fn ensure_membership(&mut self, slot: Slot, image: ImageIndex) {
        let account = self.account(slot);
        if account.others().is_some() && account.position(image).is_err() {
            account.membership(image);
            if let Some(&deferred) = self.deferred.get(&(slot, OTHERS)) {
                self.deferred.insert((slot, image), deferred);
            }
        }
    }

    fn get(&self, slot: Slot) -> Option<&Account<C>> {
        self.accounts.get(slot as usize)?.as_deref()
    }

    /// The account, which is about to change.
    fn account(&mut self, slot: Slot) -> &mut Account<C> {
        let at = slot as usize;
        if self.accounts.len() <= at {
            self.accounts.resize_with(at + 1, || None);
        }
        let account = self.accounts[at].get_or_insert_default();
        if !std::mem::replace(&mut account.is_unsettled, true) {
            self.unsettled.push(slot);
        }
        account
    }

    fn note_alive(&mut self, slot: Slot, pass: u32) {
        let at = slot as usize;
        if self.last_alive_pass.len() <= at {
            self.last_alive_pass.resize(at + 1, 0);
        }
        self.last_alive_pass[at] = pass;
    }

    /// The number of the reads since exits were last resolved; from 1.
    fn reads(&self) -> u32 {
        self.settled.wrapping_add(1)
    }

    /// Exits were resolved: the readings until now are settled.
    fn settle(&mut self) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        let reads = self.reads();
        for slot in unsettled.drain(..) {
            let account = self.accounts.get_mut(slot as usize).and_then(Option::as_deref_mut);
            let Some(account) = account else { continue };
            if account.is_new(reads) {
                account.memberships.iter_mut().for_each(|membership| membership.unread = false);
                account.begins_with_baseline = false;
            }
            account.settled = account.last;
            account.after_parent_read = false;
            account.is_unsettled = false;
        }
        shrink_vec(&mut unsettled);
        self.unsettled = unsettled;
        self.settled = reads;
    }

    fn totals_of(&mut self, image: ImageIndex) -> &mut ImageTotals<C> {
        self.ensure_images(image.index() + 1);
        &mut self.images[image.index()]
    }
}

impl<C: Counters> ImageTotals<C> {
    fn add(&mut self, counters: C) {
        self.from_exited = self.from_exited.saturating_add(counters);
        self.read = true;
    }
}

impl<C: Counters> Account<C> {
    /// Whether its growth is known: processes that belong to no image are not read.
    fn is_read(&self) -> bool {
        self.last.is_some() && self.memberships.iter().any(|membership| membership.member)
    }

    /// Whether a reading was accepted among these reads.
    fn is_new(&self, reads: u32) -> bool {
        self.read_in == reads
    }

    /// Whether a membership begins with the next reading.
    fn awaits_reading(&self) -> bool {
        self.memberships.iter().any(|membership| membership.unread)
    }

    /// The membership of an image of which it is a member, and the offset that was set last.
    fn member(&mut self, image: ImageIndex) -> Option<(&mut Membership<C>, &mut Offset<C>)> {
        let at = self.position(image).ok()?;
        let membership = self.memberships.get_mut(at).filter(|membership| membership.member)?;
        Some((membership, &mut self.shared_offset))
    }

    /// The position of the membership of an image, or the one at which it belongs.
    fn position(&self, image: ImageIndex) -> Result<usize, usize> {
        self.memberships.binary_search_by_key(&image, |membership| membership.image)
    }

    /// The membership of [`OTHERS`], the last in the order of images.
    fn others(&self) -> Option<&Membership<C>> {
        self.memberships.last().filter(|last| last.image == OTHERS)
    }

    fn is_member(&self, image: ImageIndex) -> bool {
        self.position(image).is_ok_and(|at| self.memberships[at].member)
    }

    /// The membership of an image, and the offset that was set last. A new membership is that
    /// of a process that is not a member.
    fn membership(&mut self, image: ImageIndex) -> (&mut Membership<C>, &mut Offset<C>) {
        let at = self.position(image).unwrap_or_else(|at| {
            let (unread, offset) = self.others().map_or((false, Offset::default()), |others| {
                (others.unread, others.offset.clone())
            });
            // At the end if the images come in their order, as those of a process do.
            self.memberships.insert(at, Membership { image, member: false, unread, offset });
            at
        });
        (&mut self.memberships[at], &mut self.shared_offset)
    }
}

#[cfg(test)]
mod tests;
