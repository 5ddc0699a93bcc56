//! Group commit for the journal: many deliveries, one trip to the disk.
//!
//! A delivery is acknowledged to the forge only after its row is on the disk, and the forge waits five seconds and never
//! asks again. One flush per delivery would take some ten seconds for a burst of 2,000; so one task collects whatever has
//! arrived while the previous flush ran and writes it in one transaction. No timer is involved: an idle journal writes a
//! lone delivery at once.

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::deliveries::{self, Appended, NewDelivery};
use super::{Store, StoreError};

/// Deliveries that may wait; more are refused at the door and found by the poll later.
const WAITING: usize = 4096;

/// Most deliveries of one transaction.
const BATCH: usize = 512;

/// The way into the journal. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    entries: mpsc::Sender<Entry>,
}

#[derive(Debug)]
struct Entry {
    new: NewDelivery,
    done: oneshot::Sender<Result<Appended, StoreError>>,
}

impl Journal {
    /// Starts the writer. Its task ends when the last `Journal` is dropped, after writing what is waiting.
    #[must_use]
    pub fn start(store: Store) -> (Self, JoinHandle<()>) {
        let (entries, waiting) = mpsc::channel(WAITING);
        let task = tokio::spawn(write_all(store, waiting));
        (Self { entries }, task)
    }

    /// Writes a delivery; when this returns, it is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] if too many wait; else what the database said. Then the delivery must not be acknowledged.
    pub async fn append(&self, new: NewDelivery) -> Result<Appended, StoreError> {
        let (done, outcome) = oneshot::channel();
        self.entries.try_send(Entry { new, done }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Journal("its writer has stopped".to_owned()),
        })?;
        outcome.await.map_err(|_| StoreError::Journal("its writer stopped before this was written".to_owned()))?
    }
}

async fn write_all(store: Store, mut waiting: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        match write_batch(&store, &batch).await {
            Ok(outcomes) => {
                for (entry, outcome) in batch.drain(..).zip(outcomes) {
                    // Whoever has gone away meanwhile does not need to know.
                    let _ = entry.done.send(Ok(outcome));
                }
            }
            Err(error) => {
                let why = error.to_string();
                for entry in batch.drain(..) {
                    let _ = entry.done.send(Err(StoreError::Journal(why.clone())));
                }
            }
        }
    }
}

async fn write_batch(store: &Store, batch: &[Entry]) -> Result<Vec<Appended>, StoreError> {
    let mut write = store.begin_immediate().await?;
    let all: Vec<&NewDelivery> = batch.iter().map(|entry| &entry.new).collect();
    let outcomes = deliveries::append_all(&mut write, &all).await?;
    write.commit().await?;
    Ok(outcomes)
}
