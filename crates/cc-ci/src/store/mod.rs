//! What cc-ci remembers: one SQLite database, one file per table, typed functions.
//!
//! Two rules. Reading takes any connection ([`Store::read`]); writing takes a [`Write`], which only
//! [`Store::begin_immediate`] makes: a transaction that begins as a reader and writes later fails with "database is
//! locked" however long it may wait. And there is one writing connection, so writers queue up inside the process instead
//! of meeting in the file. Journal and outbox must survive a power cut: write-ahead log, `synchronous = FULL`.
//!
//! Nothing here decides anything; that is `queue`, `bridge` and `publish`.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Connection as _, Row, Sqlite, SqliteConnection, SqlitePool, Transaction, pool::PoolConnection};

pub mod attempts;
pub(crate) mod copies;
pub mod cursors;
pub mod deliveries;
pub mod events;
pub mod hints;
pub mod inspect;
pub mod journal;
pub mod leases;
pub mod outbox;
pub mod results;
pub mod runs;
pub mod schema;
pub mod stage_rows;
pub mod triggers;
pub mod views;

/// How long a connection waits for another *process* (the command line, a backup) that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections for reading.
const READERS: u32 = 4;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("cannot open the database {path}: {source}; check that the folder exists and is writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("the database failed: {0}; see whether its disk is full or read-only")]
    Sql(#[from] sqlx::Error),
    /// A value does not mean anything to this version.
    #[error("{table}.{column} holds {value:?}, which is not known; was the database changed by hand?")]
    Unreadable {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// What is there, cut short.
        value: String,
    },
    /// The schema is newer than this program.
    #[error(
        "the database has schema {found}, this cc-ci knows up to {known}; use the newer cc-ci, or restore a backup"
    )]
    Newer {
        /// Schema of the file.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// Too many deliveries are waiting to be written.
    #[error("too many deliveries are waiting to be written; the forge's comments will be read again later")]
    Overloaded,
    /// The journal's writer has failed or stopped.
    #[error("the journal could not be written: {0}")]
    Journal(String),
}

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the file, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// If it cannot be opened, or was written by a newer cc-ci.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .before_acquire(|connection, _| Box::pin(std::future::ready(Ok(is_usable(connection)))))
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        schema::upgrade(&mut *writer.acquire().await?, schema::STEPS).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(failed)?;
        Ok(Self { writer, readers })
    }

    /// A database that lives only as long as this value; one connection reads and writes.
    ///
    /// # Errors
    /// If SQLite cannot make one.
    pub async fn in_memory() -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            // Closing the one connection would end the database, and a test that is cut short closes it.
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        schema::upgrade(&mut *pool.acquire().await?, schema::STEPS).await?;
        Ok(Self { writer: pool.clone(), readers: pool })
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// If none can be had.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// Begins a write. Dropped without [`Write::commit`], nothing of it remains.
    ///
    /// # Errors
    /// If another process keeps the database locked for ten seconds.
    pub async fn begin_immediate(&self) -> Result<Write, StoreError> {
        Ok(Write(self.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// Whether SQLite finds its file in order.
    ///
    /// # Errors
    /// If it cannot even look.
    pub async fn is_sound(&self) -> Result<bool, StoreError> {
        let mut connection = self.read().await?;
        let word: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut *connection).await?;
        let broken_keys = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *connection).await?;
        Ok(word == "ok" && broken_keys.is_empty())
    }

    /// Closes all connections after the statements in flight.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Whether a connection that was given back can begin another transaction.
///
/// When the disk is full SQLite ends a transaction by itself. sqlx then tries to roll it back, fails, and takes it for
/// being open ever after, so that nothing could be written any more. Such a connection is closed, and a new one made.
fn is_usable(connection: &SqliteConnection) -> bool {
    let usable = !connection.is_in_transaction();
    if !usable {
        tracing::warn!("the database's connection for writing is replaced: a write failed half way");
    }
    usable
}

/// A write in progress. What changes rows takes `&mut Write`, so it can only be called inside one.
#[derive(Debug)]
pub struct Write(Transaction<'static, Sqlite>);

impl Write {
    /// Makes the write durable.
    ///
    /// # Errors
    /// If the disk refuses; then nothing of it remains.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }
}

impl Deref for Write {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.0
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }
}

/// Reads typed values out of a row.
pub(crate) struct Cells<'r> {
    pub(crate) table: &'static str,
    pub(crate) row: &'r SqliteRow,
}

impl Cells<'_> {
    pub(crate) fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.to_time(column, self.int(column)?)
    }

    pub(crate) fn maybe_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        self.maybe_int(column)?.map(|millis| self.to_time(column, millis)).transpose()
    }

    /// An enum or an id that serialises as a string.
    pub(crate) fn word<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        self.to_word(column, &self.text(column)?)
    }

    pub(crate) fn maybe_word<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.maybe_text(column)?.map(|text| self.to_word(column, &text)).transpose()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        serde_json::from_str(&text).map_err(|_| self.unreadable(column, &text))
    }

    fn to_word<T: DeserializeOwned>(&self, column: &'static str, text: &str) -> Result<T, StoreError> {
        serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| self.unreadable(column, text))
    }

    fn to_time(&self, column: &'static str, millis: i64) -> Result<Timestamp, StoreError> {
        Timestamp::from_millisecond(millis).map_err(|_| self.unreadable(column, &millis.to_string()))
    }

    fn unreadable(&self, column: &'static str, value: &str) -> StoreError {
        StoreError::Unreadable { table: self.table, column, value: value.chars().take(60).collect() }
    }
}

/// The text of an enum or id that serialises as a string.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) | Err(_) => String::new(),
    }
}

/// The text of a value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Sql(sqlx::Error::Encode(Box::new(error))))
}
