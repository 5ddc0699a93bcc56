//! What addresses the swarm has to give: its pools, and the overlay networks that took some.

use bollard::query_parameters::ListNetworksOptions;
use serde::Serialize;

use super::{Engine, EngineError};
use crate::domain::RunId;

/// The pool of a swarm that was given none (`docker swarm init --default-addr-pool`).
const DEFAULT_POOL: &str = "10.0.0.0/8";
/// Prefix length of the networks cut from it.
const DEFAULT_BITS: u32 = 24;

/// The swarm's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pools {
    /// Pools that new overlay networks are cut from, as CIDR.
    pub pools: Vec<String>,
    /// Prefix length of each new network.
    pub subnet_bits: u32,
    /// Overlay networks.
    pub networks: Vec<Overlay>,
}

/// An overlay network of the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlay {
    /// Name.
    pub name: String,
    /// Subnet as CIDR, if the engine says.
    pub subnet: Option<String>,
    /// The run that it belongs to, if it is one of cc-ci's.
    pub run: Option<RunId>,
}

impl Pools {
    /// How many networks the pools are for; nothing if one of them cannot be read, such as one of IPv6.
    #[must_use]
    pub fn capacity(&self) -> Option<u64> {
        self.pools.iter().try_fold(0_u64, |sum, pool| {
            let bits: u32 = pool.split_once('/').filter(|_| !pool.contains(':'))?.1.parse().ok()?;
            let cut = self.subnet_bits.checked_sub(bits).filter(|cut| *cut < 32);
            Some(sum.saturating_add(cut.map_or(0, |cut| 1 << cut)))
        })
    }

    /// How many networks fewer the pools can give because of these: none for one with a subnet from elsewhere, several for
    /// a larger one, one for one whose subnet is not known.
    pub fn taken(&self, which: impl Fn(&Overlay) -> bool) -> u64 {
        self.networks.iter().filter(|network| which(network)).map(|network| self.taken_by(network)).sum()
    }

    fn taken_by(&self, network: &Overlay) -> u64 {
        let Some(subnet) = network.subnet.as_deref().and_then(range) else { return 1 };
        let cut = 1_u64 << 32_u32.saturating_sub(self.subnet_bits.min(32));
        let overlap = |pool: &String| {
            let pool = range(pool)?;
            let (first, last) = (subnet.0.max(pool.0), subnet.1.min(pool.1));
            (first <= last).then(|| (last - pool.0) / cut - (first - pool.0) / cut + 1)
        };
        self.pools.iter().filter_map(overlap).sum()
    }
}

impl Engine {
    /// Asks for pools and overlay networks.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn pools(&self) -> Result<Pools, EngineError> {
        let info = self.docker.info().await.map_err(self.error("its facts"))?;
        let cluster = info.swarm.and_then(|swarm| swarm.cluster);
        let found =
            self.docker.list_networks(None::<ListNetworksOptions>).await.map_err(self.error("the list of networks"))?;
        let mut networks: Vec<Overlay> = found
            .into_iter()
            .filter(|network| network.driver.as_deref() == Some("overlay"))
            .map(|network| Overlay {
                subnet: network
                    .ipam
                    .and_then(|ipam| ipam.config)
                    .and_then(|config| config.into_iter().find_map(|c| c.subnet)),
                run: network.labels.and_then(|labels| labels.get(super::LABEL_RUN)?.parse().ok()),
                name: network.name.unwrap_or_default(),
            })
            .collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        // An engine that was given no pool does not name the one it uses.
        let pools = cluster.as_ref().and_then(|cluster| cluster.default_addr_pool.clone()).unwrap_or_default();
        let bits = cluster.and_then(|cluster| cluster.subnet_size).unwrap_or(0);
        Ok(Pools {
            pools: if pools.is_empty() { vec![DEFAULT_POOL.to_owned()] } else { pools },
            subnet_bits: if bits == 0 { DEFAULT_BITS } else { bits },
            networks,
        })
    }
}

/// First and last address of an IPv4 network.
fn range(cidr: &str) -> Option<(u64, u64)> {
    let (address, bits) = cidr.split_once('/')?;
    let address = u64::from(u32::from(address.parse::<std::net::Ipv4Addr>().ok()?));
    let size = 1_u64 << 32_u32.checked_sub(bits.parse().ok()?)?;
    let first = address / size * size;
    Some((first, first + size - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_of_pools() {
        let table: [(&[&str], u32, Option<u64>); 5] = [
            (&["10.0.0.0/8"], 24, Some(65_536)),
            (&["10.10.0.0/16", "10.20.0.0/16"], 24, Some(512)),
            (&["172.30.0.0/24"], 24, Some(1)),
            (&["172.30.0.0/28"], 24, Some(0)),
            (&["fd00::/48"], 64, None),
        ];
        for (pools, subnet_bits, want) in table {
            let pools = pools.iter().map(|pool| (*pool).to_owned()).collect();
            let pools = Pools { pools, subnet_bits, networks: Vec::new() };
            assert_eq!(pools.capacity(), want, "{pools:?}");
        }
    }

    #[test]
    fn what_networks_take_of_the_pools() {
        let pools = |subnet: Option<&str>| Pools {
            pools: vec!["10.10.0.0/16".to_owned(), "10.20.0.0/24".to_owned()],
            subnet_bits: 24,
            networks: vec![Overlay { name: "x".to_owned(), subnet: subnet.map(str::to_owned), run: None }],
        };
        let table = [
            (Some("10.10.3.0/24"), 1),
            (Some("10.20.0.0/24"), 1),
            (Some("10.10.4.0/22"), 4),
            (Some("10.10.3.128/26"), 1),
            (Some("10.0.0.0/24"), 0),
            (Some("192.168.7.0/24"), 0),
            (Some("10.0.0.0/8"), 257),
            (Some("fd00::/64"), 1),
            (Some("no subnet"), 1),
            (None, 1),
        ];
        for (subnet, want) in table {
            assert_eq!(pools(subnet).taken(|_| true), want, "{subnet:?}");
            assert_eq!(pools(subnet).taken(|network| network.run.is_some()), 0);
        }
    }
}
