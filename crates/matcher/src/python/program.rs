//! Compilation of a pattern for the backtracking engine.

use std::sync::Arc;

use super::ast::{Assert, Fold, Node, RepeatKind};
use super::set::CharSet;

/// An instruction. Without a target, the next instruction follows.
#[derive(Debug)]
pub(super) enum Inst {
    Set(Arc<CharSet>),
    /// A repeat of one character.
    Many {
        set: Arc<CharSet>,
        min: u32,
        max: Option<u32>,
        kind: RepeatKind,
    },
    Assert(Assert),
    /// Tries the first target, then the second.
    Split(usize, usize),
    Jump(usize),
    /// Saves the position in a slot; a group has 2 slots.
    Save(usize),
    /// Enters a repeat.
    LoopEnter(usize),
    /// Starts an iteration of a repeat, whose body follows, or exits.
    LoopIter {
        repeat: usize,
        min: u32,
        max: Option<u32>,
        lazy: bool,
        exit: usize,
    },
    /// Matches the instructions up to `Accept` atomically, starting `behind`
    /// characters before the position; continues at `exit`.
    Lookaround {
        negate: bool,
        behind: Option<u32>,
        exit: usize,
    },
    Atomic {
        exit: usize,
    },
    /// Repeated `Atomic`.
    Possessive {
        min: u32,
        max: Option<u32>,
        exit: usize,
    },
    Backref {
        group: usize,
        fold: Fold,
    },
    /// Continues with the next instruction if the group has matched, else at
    /// `no`.
    IfGroup {
        group: usize,
        no: usize,
    },
    Accept,
}

#[derive(Debug)]
pub(super) struct Program {
    pub(super) insts: Vec<Inst>,
    /// Number of slots.
    pub(super) slots: usize,
    /// Number of repeats.
    pub(super) repeats: usize,
    /// The first bytes of possible matches; `None` if a match can be empty.
    pub(super) first: Option<Box<[bool; 256]>>,
    /// Whether it can only match at the start of the text.
    pub(super) anchored: bool,
}

impl Program {
    pub(super) fn new(node: &Node, groups: usize) -> Self {
        let mut compiler = Compiler { insts: Vec::new(), repeats: 0 };
        compiler.node(node);
        compiler.insts.push(Inst::Accept);
        let mut bytes = Box::new([false; 256]);
        let can_be_empty = first_bytes(node, &mut bytes);
        Self {
            insts: compiler.insts,
            slots: groups * 2,
            repeats: compiler.repeats,
            first: (!can_be_empty).then_some(bytes),
            anchored: is_anchored(node),
        }
    }
}

struct Compiler {
    insts: Vec<Inst>,
    repeats: usize,
}

impl Compiler {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Empty => {}
            Node::Leaf(leaf) => self.push(Inst::Set(Arc::clone(&leaf.set))),
            Node::Concat(nodes) => nodes.iter().for_each(|n| self.node(n)),
            Node::Alternation(nodes) => self.alternation(nodes),
            Node::Repeat { node, min, max, kind } => self.repeat(node, *min, *max, *kind),
            Node::Group { index, node } => {
                self.push(Inst::Save(index * 2));
                self.node(node);
                self.push(Inst::Save(index * 2 + 1));
            }
            Node::Atomic(node) => {
                self.emit_isolated(node, |exit| Inst::Atomic { exit });
            }
            Node::Lookaround { node, negate, behind } => {
                let (negate, behind) = (*negate, *behind);
                self.emit_isolated(node, |exit| Inst::Lookaround { negate, behind, exit });
            }
            Node::Backreference { group, fold } => {
                self.push(Inst::Backref { group: *group, fold: *fold });
            }
            Node::Conditional { group, yes, no } => {
                let check = self.emit_placeholder();
                self.node(yes);
                let jump = self.emit_placeholder();
                self.set(check, Inst::IfGroup { group: *group, no: self.insts.len() });
                self.node(no);
                self.set(jump, Inst::Jump(self.insts.len()));
            }
            Node::Assert(assert) => self.push(Inst::Assert(*assert)),
        }
    }

    fn push(&mut self, inst: Inst) {
        self.insts.push(inst);
    }

    /// Reserves an instruction whose target is not known yet.
    fn emit_placeholder(&mut self) -> usize {
        self.push(Inst::Accept);
        self.insts.len() - 1
    }

    fn set(&mut self, at: usize, inst: Inst) {
        if let Some(slot) = self.insts.get_mut(at) {
            *slot = inst;
        }
    }

    /// A part that ends with its own `Accept`.
    fn emit_isolated(&mut self, node: &Node, inst: impl Fn(usize) -> Inst) {
        let start = self.emit_placeholder();
        self.node(node);
        self.push(Inst::Accept);
        self.set(start, inst(self.insts.len()));
    }

    fn alternation(&mut self, nodes: &[Node]) {
        let mut jumps = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            if index + 1 == nodes.len() {
                self.node(node);
            } else {
                let split = self.emit_placeholder();
                self.node(node);
                jumps.push(self.emit_placeholder());
                self.set(split, Inst::Split(split + 1, self.insts.len()));
            }
        }
        for jump in jumps {
            self.set(jump, Inst::Jump(self.insts.len()));
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, kind: RepeatKind) {
        if let Node::Leaf(leaf) = node {
            self.push(Inst::Many { set: Arc::clone(&leaf.set), min, max, kind });
            return;
        }
        if kind == RepeatKind::Possessive {
            self.emit_isolated(node, |exit| Inst::Possessive { min, max, exit });
            return;
        }
        let repeat = self.repeats;
        self.repeats += 1;
        self.push(Inst::LoopEnter(repeat));
        let iteration = self.emit_placeholder();
        self.node(node);
        self.push(Inst::Jump(iteration));
        let exit = self.insts.len();
        self.set(
            iteration,
            Inst::LoopIter { repeat, min, max, lazy: kind == RepeatKind::Lazy, exit },
        );
    }
}

/// Collects the bytes that a match can start with; returns whether it can be
/// empty or start with an unknown byte.
fn first_bytes(node: &Node, bytes: &mut [bool; 256]) -> bool {
    match node {
        Node::Leaf(leaf) => {
            for (byte, slot) in (0_u32..).zip(bytes.iter_mut()) {
                *slot |=
                    if byte < 128 { leaf.set.contains(byte) } else { leaf.set.has_non_ascii() };
            }
            false
        }
        Node::Concat(nodes) => nodes.iter().all(|n| first_bytes(n, bytes)),
        Node::Alternation(nodes) => {
            // Without short-circuit evaluation, because each adds its bytes.
            nodes.iter().fold(false, |can_be_empty, n| first_bytes(n, bytes) | can_be_empty)
        }
        Node::Repeat { node, min, .. } => first_bytes(node, bytes) || *min == 0,
        Node::Group { node, .. } | Node::Atomic(node) => first_bytes(node, bytes),
        Node::Conditional { yes, no, .. } => first_bytes(yes, bytes) | first_bytes(no, bytes),
        Node::Backreference { .. } => {
            bytes.fill(true);
            true
        }
        Node::Empty | Node::Lookaround { .. } | Node::Assert(_) => true,
    }
}

fn is_anchored(node: &Node) -> bool {
    match node {
        Node::Assert(Assert::Start) => true,
        Node::Concat(nodes) => nodes.first().is_some_and(is_anchored),
        Node::Alternation(nodes) => nodes.iter().all(is_anchored),
        Node::Group { node, .. } | Node::Atomic(node) => is_anchored(node),
        _ => false,
    }
}
