output "dns_server" {
  description = "DNS server of the clients: the load balancer's address."
  value       = local.dns_server
}

output "resolver_addresses" {
  description = "Addresses of the two machines."
  value       = local.addresses
}

output "virtual_network_id" {
  description = "The virtual network: peer the clients' networks with it, and link the private DNS zones to it."
  value       = azurerm_virtual_network.namegate.id
}

output "clients_security_group_id" {
  description = "Network security group for other subnets with clients."
  value       = azurerm_network_security_group.clients.id
}
