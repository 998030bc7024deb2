//! A transfer whose client is sent to at a limited rate.

use std::time::Instant;

use bootstorm_proto::tftp::{Allowance, Transfer};

use crate::pacing::{Bucket, Feed};

/// What a transfer may send.
#[derive(Debug)]
pub(super) struct Paced {
    feed: Feed,
    bucket: Bucket,
    rate: Option<u64>,
}

impl Paced {
    pub(super) fn new(feed: Feed, now: Instant) -> Self {
        Self {
            feed,
            bucket: Bucket::new(now),
            rate: None,
        }
    }

    /// Tells the transfer how much may leave now and when more may.
    pub(super) fn allow(&mut self, transfer: &mut Transfer, now: Instant) {
        self.rate = self.feed.rate(now);
        let allowance = self.rate.map(|rate| {
            let block = transfer.sizes().0.get().into();
            let (blocks, next) = self.bucket.allowance(rate, block, now);
            Allowance {
                blocks: u16::try_from(blocks).unwrap_or(u16::MAX),
                next,
            }
        });
        transfer.allow(allowance);
    }

    /// So many bytes of the file left.
    pub(super) fn sent(&mut self, bytes: u64) {
        if let Some(rate) = self.rate {
            self.bucket.take(bytes, rate);
        }
    }
}
