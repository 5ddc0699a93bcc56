//! Where a container can be reached from this host, and which volumes a stack has.
//!
//! Overlay addresses are not routed on the host; every task of an overlay network also has an address on the node's gateway
//! bridge, which is. The rule to know: that address dies with the container, so ask again after every restart of a task.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::query_parameters::ListVolumesOptionsBuilder;

use super::exec::short;
use super::state::VolumeInfo;
use super::{Engine, EngineError, LABEL_NAMESPACE};
use crate::domain::StackName;

/// The bridge that gives overlay tasks their way to the host.
const GATEWAY_BRIDGE: &str = "docker_gwbridge";

/// An address of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Network.
    pub network: String,
    /// Address.
    pub ip: IpAddr,
    /// Whether the host is expected to reach it.
    pub reachable: bool,
}

impl Engine {
    /// Addresses of a running container, those that the host can reach first.
    ///
    /// # Errors
    /// If the container is gone or the engine does not answer.
    pub async fn addresses(&self, container_id: &str) -> Result<Vec<Address>, EngineError> {
        let what = || format!("container {}", short(container_id));
        let found = self.docker.inspect_container(container_id, None).await.map_err(self.error(what()))?;
        let id = found.id.unwrap_or_else(|| container_id.to_owned());
        let mut addresses = Vec::new();
        let bridge = self.docker.inspect_network(GATEWAY_BRIDGE, None).await.map_err(self.error(GATEWAY_BRIDGE));
        match bridge {
            Ok(network) => {
                let members = network.containers.unwrap_or_default();
                let address = members.get(&id).and_then(|member| member.ipv4_address.as_deref());
                if let Some(ip) = address.and_then(without_prefix) {
                    addresses.push(Address { network: GATEWAY_BRIDGE.to_owned(), ip, reachable: true });
                }
            }
            // A node that never ran an overlay task has no such bridge.
            Err(EngineError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        for (name, endpoint) in networks {
            let Some(ip) = endpoint.ip_address.as_deref().and_then(without_prefix) else { continue };
            // `docker run` containers are on bridges; those of services are on overlays.
            let reachable = name == "bridge";
            addresses.push(Address { network: name, ip, reachable });
        }
        addresses.sort_by(|a, b| b.reachable.cmp(&a.reachable).then_with(|| a.network.cmp(&b.network)));
        Ok(addresses)
    }

    /// Volumes of the stack, by name.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn volumes(&self, stack: &StackName) -> Result<Vec<VolumeInfo>, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{LABEL_NAMESPACE}={stack}")])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let found = self.docker.list_volumes(Some(options)).await.map_err(self.error("the list of volumes"))?;
        let mut volumes: Vec<VolumeInfo> = found
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| VolumeInfo {
                short: volume
                    .name
                    .strip_prefix(stack.as_str())
                    .and_then(|name| name.strip_prefix('_'))
                    .unwrap_or(&volume.name)
                    .to_owned(),
                name: volume.name,
                labels: volume.labels.into_iter().collect(),
                mountpoint: volume.mountpoint,
                created: volume.created_at,
            })
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }
}

fn without_prefix(address: &str) -> Option<IpAddr> {
    address.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_prefix_length() {
        assert_eq!(without_prefix("172.18.0.3/16"), Some(IpAddr::from([172, 18, 0, 3])));
        assert_eq!(without_prefix("172.18.0.3"), Some(IpAddr::from([172, 18, 0, 3])));
        assert_eq!(without_prefix(""), None);
    }
}
