//! Descriptors on their way from one socket to another (`SCM_RIGHTS`).
//!
//! What is sent is a reference to the open description. It counts like a descriptor until somebody receives it or the socket
//! ends. A socket that is sent through itself and closed is never freed, since nothing looks for such circles; the bound on
//! descriptors under way bounds them too.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::State;
use crate::errno::Errno;
use crate::files::Files;
use crate::files::descriptors::Descriptor;
use crate::files::limits::{RIGHTS_IN_FLIGHT_MAX, RIGHTS_MAX};

/// Descriptors that came in on a stream, each list with the bytes that it came with.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    parcels: VecDeque<Parcel>,
    /// Bytes that were read from the stream so far.
    read_bytes: u64,
}

#[derive(Debug)]
struct Parcel {
    /// First byte in the stream, and the one after the last.
    start: u64,
    end: u64,
    descriptions: Vec<u32>,
}

impl Rights {
    /// Notes what came with `count` bytes that went in behind `waiting` others.
    pub(super) fn attach(&mut self, waiting: usize, count: usize, descriptions: Vec<u32>) {
        let start = self.read_bytes + waiting as u64;
        self.parcels.push_back(Parcel { start, end: start + count as u64, descriptions });
    }

    /// Of `wanted` bytes, those that one call may read: not beyond a message with descriptors.
    pub(super) fn readable(&self, wanted: usize) -> usize {
        let end = self.parcels.front().map_or(u64::MAX, |parcel| parcel.end - self.read_bytes);
        usize::try_from(end).map_or(wanted, |end| end.min(wanted))
    }

    /// `count` bytes were read.
    pub(super) fn pass(&mut self, count: usize) {
        self.read_bytes += count as u64;
    }

    /// The descriptors of the bytes that were read.
    fn take(&mut self) -> Option<Vec<u32>> {
        self.parcels.pop_front_if(|parcel| parcel.start < self.read_bytes).map(|parcel| parcel.descriptions)
    }

    pub(super) fn into_descriptions(self) -> impl Iterator<Item = u32> {
        self.parcels.into_iter().flat_map(|parcel| parcel.descriptions)
    }
}

impl Files {
    /// Refers to what these descriptors name, for a message.
    pub(crate) fn refer(&mut self, fds: &[u32]) -> Result<Vec<u32>, Errno> {
        if fds.len() > RIGHTS_MAX {
            return Err(Errno::INVAL);
        }
        if self.rights_in_flight + fds.len() > RIGHTS_IN_FLIGHT_MAX {
            return Err(Errno::TOOMANYREFS);
        }
        let descriptions: Result<Vec<u32>, Errno> =
            fds.iter().map(|fd| Ok(self.descriptors.get(*fd)?.description)).collect();
        let descriptions = descriptions?;
        for index in &descriptions {
            if let Some(description) = self.descriptions.get_mut(*index) {
                description.references += 1;
            }
        }
        self.rights_in_flight += descriptions.len();
        Ok(descriptions)
    }

    /// Gives such references up.
    pub(crate) fn forget(&mut self, descriptions: Vec<u32>) {
        self.orphans.extend(descriptions);
        self.end_orphans();
    }

    /// Opens what came with a message; `true` if there were not enough numbers for all. Those left over are closed.
    pub(crate) fn receive_rights(&mut self, descriptions: Vec<u32>, room: usize, closes: bool) -> (Vec<u32>, bool) {
        let mut opened = Vec::new();
        let mut is_cut = false;
        for description in descriptions {
            let number = self.descriptors.lowest_free(0).ok().filter(|_| opened.len() < room);
            let descriptor = Descriptor { description, closes_on_exec: closes };
            match number.map(|number| (number, self.descriptors.set(number, descriptor))) {
                Some((number, Ok(_))) => {
                    self.rights_in_flight -= 1;
                    opened.push(number);
                }
                _ => {
                    is_cut = true;
                    self.orphans.push(description);
                }
            }
        }
        self.end_orphans();
        (opened, is_cut)
    }

    /// What came with the bytes of a stream that were read last.
    pub(crate) fn take_rights(&mut self, index: u32) -> Vec<u32> {
        match self.sockets.get_mut(index).map(|socket| &mut socket.state) {
            Some(State::Connected(link)) => link.rights.take().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Ends the references that were left over. One at a time, since each may leave others behind: sockets in sockets in
    /// sockets must not become calls in calls in calls.
    pub(crate) fn end_orphans(&mut self) {
        while let Some(description) = self.orphans.pop() {
            self.rights_in_flight -= 1;
            self.drop_one(description);
        }
    }
}
