//! Watches the network: news wakes a look at it, and only a difference is told.
//!
//! The kernel's news is never taken at its word: much of it is noise (statistics, router advertisements, the links of
//! containers), and some gets lost when it comes too fast. What counts is what a look then shows.

use std::io;
use std::time::Duration;

use async_io::Timer;
use bytes::BytesMut;
use futures_lite::future;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SmolSocket, SocketAddr};

use super::netlink::{self, Dumped, GROUPS, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, Snapshot};
use crate::util::within;

/// A link, its address and its route come one after the other: most of them within this. It is also the shortest time
/// between two looks.
const SETTLES: Duration = Duration::from_millis(150);

/// How long the kernel may take to answer. It does so before it returns from the request.
const ANSWER: Duration = Duration::from_secs(5);

/// The kernel answers in pieces of up to 32 KiB when there is room for them.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// One event is far smaller; of a longer one the beginning will do.
const EVENT_BYTES_MAX: usize = 8 * 1024;

/// Events taken together at most; what is left wakes the next look.
const EVENTS_MAX: usize = 1000;

/// `ENOBUFS`: news was lost.
const OVERRUN: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

pub(super) struct Watch {
    events: SmolSocket,
    known: Snapshot,
}

impl Watch {
    /// # Errors
    /// This kernel, or a sandbox, has no netlink for us.
    pub(super) async fn open() -> io::Result<Self> {
        let mut events = SmolSocket::new(NETLINK_ROUTE)?;
        events.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
        // Subscribed first, so that nothing is missed in between.
        let known = snapshot().await?;
        Ok(Self { events, known })
    }

    /// Waits until the network is another one.
    ///
    /// # Errors
    /// It cannot be watched any more.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            while !self.event().await? {}
            Timer::after(SETTLES).await;
            // All that has come by now is answered by one look.
            for _ in 0..EVENTS_MAX {
                match future::poll_once(self.event()).await {
                    Some(event) => drop(event?),
                    None => break,
                }
            }
            let seen = snapshot().await?;
            if seen != self.known {
                self.known = seen;
                return Ok(());
            }
        }
    }

    /// The next event, and whether it may matter.
    async fn event(&mut self) -> io::Result<bool> {
        let mut bytes = BytesMut::with_capacity(EVENT_BYTES_MAX);
        match self.events.recv(&mut bytes).await {
            Ok(()) => Ok(netlink::messages(&bytes).any(|message| message.matters())),
            Err(error) if error.raw_os_error() == Some(OVERRUN) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// The network as it is now.
async fn snapshot() -> io::Result<Snapshot> {
    let answer = within(ANSWER, ask()).await;
    answer.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask() -> io::Result<Snapshot> {
    let socket = SmolSocket::new(NETLINK_ROUTE)?;
    let mut dumped = Dumped::default();
    let mut bytes = BytesMut::with_capacity(PIECE_BYTES_MAX);
    for (sequence, told_as) in (1..).zip([RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE]) {
        let question = netlink::dump(told_as, sequence);
        let kernel = SocketAddr::new(0, 0);
        socket.send_to(&question, &kernel).await?;
        let mut more = true;
        while more {
            bytes.clear();
            socket.recv(&mut bytes).await?;
            for message in netlink::messages(&bytes).filter(|message| message.sequence == sequence) {
                if let Some(code) = message.refusal() {
                    return Err(io::Error::from_raw_os_error(code));
                }
                more &= !message.is_last();
                dumped.take(&message);
            }
        }
    }
    Ok(dumped.snapshot())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever this machine has, two looks at it see the same.
    #[test]
    fn the_kernel_answers() {
        let looks = smol::block_on(async { (snapshot().await, snapshot().await) });
        match looks {
            (Ok(first), Ok(second)) => assert_eq!(first, second),
            (Err(error), _) | (_, Err(error)) => println!("no netlink here: {error}"),
        }
    }
}
