//! What addresses the swarm has to give: its pools, and the overlay networks that took some.

use bollard::query_parameters::ListNetworksOptions;
use serde::Serialize;

use super::{Engine, EngineError};

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
    /// Belongs to a run of cc-ci.
    pub ours: bool,
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
                ours: network.labels.is_some_and(|labels| labels.contains_key(super::LABEL_RUN)),
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
}
