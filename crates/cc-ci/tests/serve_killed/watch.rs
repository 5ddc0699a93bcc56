//! What can be seen of a server from outside: its database, read-only, whether it lives or not.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use tokio::runtime::Runtime;

/// The simulated forges and the questions to databases live in it; the stories themselves are plain threads.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A run as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunNow {
    pub(crate) state: String,
    pub(crate) outcome: Option<String>,
    pub(crate) verdict: Option<String>,
    pub(crate) attempt: i64,
    pub(crate) crashes: i64,
    /// Id on the swarm of the attempt that goes on.
    pub(crate) live: Option<String>,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) ending: Option<String>,
}

/// A look into a server's database.
#[derive(Debug, Clone)]
pub(crate) struct Watch(PathBuf);

impl Watch {
    pub(crate) fn at(state: &Path) -> Self {
        Self(state.join("cc-ci.db"))
    }

    pub(crate) fn run(&self, number: i64) -> Option<RunNow> {
        let rows = self.rows(&format!(
            "SELECT state, outcome, verdict, attempt, crashes, live_run FROM runs WHERE number = {number}"
        ));
        rows.first().map(|row| RunNow {
            state: row.get(0),
            outcome: row.get(1),
            verdict: row.get(2),
            attempt: row.get(3),
            crashes: row.get(4),
            live: row.get(5),
        })
    }

    /// Id on the swarm of the attempt at a run that goes on.
    pub(crate) fn live(&self, number: i64) -> Option<String> {
        self.run(number).and_then(|run| run.live)
    }

    pub(crate) fn attempts(&self, number: i64) -> Vec<Attempt> {
        let sql = format!("SELECT run_id, ending FROM attempts WHERE run_number = {number} ORDER BY attempt");
        self.rows(&sql).iter().map(|row| Attempt { id: row.get(0), ending: row.get(1) }).collect()
    }

    /// Stages of any attempt at a run that have ended.
    pub(crate) fn stages(&self, number: i64) -> Vec<String> {
        let rows = self.rows(&format!("SELECT stage FROM stage_rows WHERE run_number = {number}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) fn count(&self, what: &str) -> i64 {
        self.rows(&format!("SELECT COUNT(*) FROM {what}"))[0].get(0)
    }

    /// Whether everything that was wanted of the forge is there.
    pub(crate) fn told(&self) -> bool {
        self.count("outbox WHERE state = 'due'") == 0 && self.count("runs WHERE published < change") == 0
    }

    /// How many things have happened that leave a trace in the database.
    pub(crate) fn effects(&self) -> i64 {
        let sql = "SELECT (SELECT COUNT(*) FROM deliveries) + (SELECT COUNT(*) FROM deliveries WHERE state <> 'new') \
                   + (SELECT COALESCE(SUM(change), 0) FROM runs) + (SELECT COUNT(*) FROM events) \
                   + (SELECT COUNT(*) FROM outbox WHERE state <> 'due')";
        self.rows(sql)[0].get(0)
    }

    /// What is wrong with the file and with what its rows say of each other; empty if nothing is.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong: Vec<String> = self.rows("PRAGMA integrity_check").iter().map(|row| row.get(0)).collect();
        wrong.retain(|line| line != "ok");
        wrong.extend(self.rows("PRAGMA foreign_key_check").iter().map(|row| format!("{:?}", row.get::<String, _>(0))));
        for (what, of) in [
            ("a delivery without a decision", "deliveries WHERE state <> 'done'"),
            (
                "a trigger without a verdict",
                "triggers WHERE decision = 'run' AND (verdict IS NULL OR ended_at IS NULL)",
            ),
            ("a run that is not over", "runs WHERE state <> 'finished'"),
            ("a run that is over and still leased", "runs WHERE lease_token IS NOT NULL OR live_run IS NOT NULL"),
            ("an attempt without an end", "attempts WHERE ended_at IS NULL OR ending IS NULL"),
            (
                "attempts that the run does not count",
                "runs r WHERE attempt <> (SELECT COUNT(*) FROM attempts a WHERE a.run_number = r.number)",
            ),
            (
                "a judged run without its record",
                "runs r WHERE outcome = 'judged' AND NOT EXISTS (SELECT 1 FROM results x WHERE x.run_number = r.number)",
            ),
        ] {
            let count = self.count(of);
            if count > 0 {
                wrong.push(format!("{count} × {what}"));
            }
        }
        wrong
    }

    fn rows(&self, sql: &str) -> Vec<SqliteRow> {
        let options = SqliteConnectOptions::new().filename(&self.0).read_only(true);
        block(async {
            let mut connection: SqliteConnection = options.connect().await.unwrap();
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows
        })
    }
}

/// Waits for something asynchronous on a plain thread.
pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}
