//! Whole stories of the bridge: a simulated forge with real HTTP and signed webhooks, the real server on loopback, and an
//! executor that follows a script. What is promised to people on a pull request is shown here.

mod answers;
mod crashes;
mod order;
mod scripted;
mod world;
