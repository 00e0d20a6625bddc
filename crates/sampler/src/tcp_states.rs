//! The numbers of TCP sockets in other states than ESTABLISHED.

/// Distinct TCP sockets that processes hold, by state. Sockets without a process are not
/// included, such as those in TIME_WAIT and those that were closed before they had sent all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpStateCounts {
    /// Waiting for connections.
    pub listen: u64,
    /// Connecting.
    pub syn_sent: u64,
    /// Being connected. A connection that nothing has accepted yet has no process.
    pub syn_recv: u64,
    /// Shut down for writing; the peer has not acknowledged it.
    pub fin_wait1: u64,
    /// Shut down for writing; the peer has not shut down.
    pub fin_wait2: u64,
    /// Shut down by the peer.
    pub close_wait: u64,
    /// Shut down by the peer, then by the process; the peer has not acknowledged it.
    pub last_ack: u64,
    /// Shut down by both at once; the peer has not acknowledged it.
    pub closing: u64,
}

impl TcpStateCounts {
    pub(crate) const ZERO: TcpStateCounts = TcpStateCounts {
        listen: 0,
        syn_sent: 0,
        syn_recv: 0,
        fin_wait1: 0,
        fin_wait2: 0,
        close_wait: 0,
        last_ack: 0,
        closing: 0,
    };

    /// Counts a socket.
    pub(crate) fn add(&mut self, state: OtherTcpState) {
        *match state {
            OtherTcpState::SynSent => &mut self.syn_sent,
            OtherTcpState::SynRecv => &mut self.syn_recv,
            OtherTcpState::FinWait1 => &mut self.fin_wait1,
            OtherTcpState::FinWait2 => &mut self.fin_wait2,
            OtherTcpState::CloseWait => &mut self.close_wait,
            OtherTcpState::LastAck => &mut self.last_ack,
            OtherTcpState::Listen => &mut self.listen,
            OtherTcpState::Closing => &mut self.closing,
        } += 1;
    }

    pub(crate) fn plus(self, other: TcpStateCounts) -> TcpStateCounts {
        TcpStateCounts {
            listen: self.listen + other.listen,
            syn_sent: self.syn_sent + other.syn_sent,
            syn_recv: self.syn_recv + other.syn_recv,
            fin_wait1: self.fin_wait1 + other.fin_wait1,
            fin_wait2: self.fin_wait2 + other.fin_wait2,
            close_wait: self.close_wait + other.close_wait,
            last_ack: self.last_ack + other.last_ack,
            closing: self.closing + other.closing,
        }
    }
}

/// A state of a socket that a process can hold, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherTcpState {
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl OtherTcpState {
    pub(crate) const ALL: [OtherTcpState; 8] = [
        OtherTcpState::SynSent,
        OtherTcpState::SynRecv,
        OtherTcpState::FinWait1,
        OtherTcpState::FinWait2,
        OtherTcpState::CloseWait,
        OtherTcpState::LastAck,
        OtherTcpState::Listen,
        OtherTcpState::Closing,
    ];

    /// The state with this number in the tables and in sock_diag.
    pub(crate) fn from_number(number: u8) -> Option<OtherTcpState> {
        OtherTcpState::ALL.into_iter().find(|&state| state as u8 == number)
    }
}
