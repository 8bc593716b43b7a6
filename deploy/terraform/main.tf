# Two namegate machines in two availability zones behind an internal load balancer, in a virtual network of their own. The
# resources are those of deploy/azure/azuredeploy.json.

locals {
  resolvers_prefix = cidrsubnet(var.address_prefix, 27 - tonumber(split("/", var.address_prefix)[1]), 0)
  clients_prefix   = cidrsubnet(var.address_prefix, 25 - tonumber(split("/", var.address_prefix)[1]), 1)
  # Azure reserves the first four addresses of a subnet.
  addresses       = [cidrhost(local.resolvers_prefix, 4), cidrhost(local.resolvers_prefix, 5)]
  dns_server      = cidrhost(local.resolvers_prefix, 6)
  has_nat_gateway = var.route_table_id == ""
  has_logs        = var.log_workspace != ""
}

data "azurerm_resource_group" "namegate" {
  name = var.resource_group
}

# Network

resource "azurerm_network_security_group" "resolvers" {
  name                = "namegate-resolvers"
  location            = data.azurerm_resource_group.namegate.location
  resource_group_name = var.resource_group

  security_rule {
    name                       = "dns-udp"
    description                = "DNS from this virtual network and its peers."
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Udp"
    source_address_prefix      = "VirtualNetwork"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "53"
  }
  security_rule {
    name                       = "dns-tcp"
    description                = "DNS from this virtual network and its peers."
    priority                   = 110
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = "VirtualNetwork"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "53"
  }
  security_rule {
    name                       = "probe"
    description                = "Health probe of /livez."
    priority                   = 200
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = "AzureLoadBalancer"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "9153"
  }
  security_rule {
    name                       = "admin"
    description                = "SSH, and the admin listener, which has no TLS."
    priority                   = 300
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = var.admin_prefix
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_ranges    = ["22", "9153"]
  }
  security_rule {
    name                       = "deny-inbound"
    description                = "Replaces the default rule that admits the whole virtual network."
    priority                   = 4096
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "*"
  }
}

resource "azurerm_network_security_group" "clients" {
  name                = "namegate-clients"
  location            = data.azurerm_resource_group.namegate.location
  resource_group_name = var.resource_group

  security_rule {
    name                       = "dns"
    description                = "DNS to namegate."
    priority                   = 100
    direction                  = "Outbound"
    access                     = "Allow"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = local.dns_server
    destination_port_range     = "53"
  }
  security_rule {
    name                       = "deny-azure-dns"
    description                = "168.63.129.16 resolves every name. Azure accepts this tag only with all protocols and ports."
    priority                   = 110
    direction                  = "Outbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = "AzurePlatformDNS"
    destination_port_range     = "*"
  }
  security_rule {
    name                       = "deny-other-dns"
    description                = "Other resolvers, also over TLS and QUIC."
    priority                   = 120
    direction                  = "Outbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_ranges    = ["53", "853"]
  }
}

resource "azurerm_virtual_network" "namegate" {
  name                = "namegate"
  location            = data.azurerm_resource_group.namegate.location
  resource_group_name = var.resource_group
  address_space       = [var.address_prefix]
  dns_servers         = [local.dns_server]
}

resource "azurerm_subnet" "resolvers" {
  name                            = "resolvers"
  resource_group_name             = var.resource_group
  virtual_network_name            = azurerm_virtual_network.namegate.name
  address_prefixes                = [local.resolvers_prefix]
  default_outbound_access_enabled = false
}

resource "azurerm_subnet" "clients" {
  name                            = "clients"
  resource_group_name             = var.resource_group
  virtual_network_name            = azurerm_virtual_network.namegate.name
  address_prefixes                = [local.clients_prefix]
  default_outbound_access_enabled = false
}

resource "azurerm_subnet_network_security_group_association" "resolvers" {
  subnet_id                 = azurerm_subnet.resolvers.id
  network_security_group_id = azurerm_network_security_group.resolvers.id
}

resource "azurerm_subnet_network_security_group_association" "clients" {
  subnet_id                 = azurerm_subnet.clients.id
  network_security_group_id = azurerm_network_security_group.clients.id
}

# The way out, for packages and the agent: DNS does not need it

resource "azurerm_public_ip" "nat" {
  count               = local.has_nat_gateway ? 1 : 0
  name                = "namegate-nat"
  location            = data.azurerm_resource_group.namegate.location
  resource_group_name = var.resource_group
  sku                 = "Standard"
  allocation_method   = "Static"
}

resource "azurerm_nat_gateway" "namegate" {
  count               = local.has_nat_gateway ? 1 : 0
  name                = "namegate"
  location            = data.azurerm_resource_group.namegate.location
  resource_group_name = var.resource_group
  sku_name            = "Standard"
}

resource "azurerm_nat_gateway_public_ip_association" "namegate" {
  count                = local.has_nat_gateway ? 1 : 0
  nat_gateway_id       = azurerm_nat_gateway.namegate[0].id
  public_ip_address_id = azurerm_public_ip.nat[0].id
}

resource "azurerm_subnet_nat_gateway_association" "resolvers" {
  count          = local.has_nat_gateway ? 1 : 0
  subnet_id      = azurerm_subnet.resolvers.id
  nat_gateway_id = azurerm_nat_gateway.namegate[0].id
}

resource "azurerm_subnet_route_table_association" "resolvers" {
  count          = local.has_nat_gateway ? 0 : 1
  subnet_id      = azurerm_subnet.resolvers.id
  route_table_id = var.route_table_id
}

# Load balancer

resource "azurerm_lb" "namegate" {
  name                = "namegate"
  location            = data.azurerm_resource_group.namegate.location
  resource_group_name = var.resource_group
  sku                 = "Standard"

  frontend_ip_configuration {
    name                          = "dns"
    zones                         = ["1", "2", "3"]
    subnet_id                     = azurerm_subnet.resolvers.id
    private_ip_address_allocation = "Static"
    private_ip_address            = local.dns_server
  }
}

resource "azurerm_lb_backend_address_pool" "resolvers" {
  name            = "resolvers"
  loadbalancer_id = azurerm_lb.namegate.id
}

# Not /readyz: it fails on both machines while the upstream is down, although they still answer blocked and cached names.
resource "azurerm_lb_probe" "livez" {
  name                = "livez"
  loadbalancer_id     = azurerm_lb.namegate.id
  protocol            = "Http"
  port                = 9153
  request_path        = "/livez"
  interval_in_seconds = 5
  number_of_probes    = 2
  probe_threshold     = 2
}

# SourceIP: all queries of a client reach one machine, whose limits per client then hold.
resource "azurerm_lb_rule" "dns_udp" {
  name                           = "dns-udp"
  loadbalancer_id                = azurerm_lb.namegate.id
  protocol                       = "Udp"
  frontend_port                  = 53
  backend_port                   = 53
  load_distribution              = "SourceIP"
  disable_outbound_snat          = true
  frontend_ip_configuration_name = "dns"
  backend_address_pool_ids       = [azurerm_lb_backend_address_pool.resolvers.id]
  probe_id                       = azurerm_lb_probe.livez.id
}

resource "azurerm_lb_rule" "dns_tcp" {
  name                           = "dns-tcp"
  loadbalancer_id                = azurerm_lb.namegate.id
  protocol                       = "Tcp"
  frontend_port                  = 53
  backend_port                   = 53
  load_distribution              = "SourceIP"
  disable_outbound_snat          = true
  frontend_ip_configuration_name = "dns"
  backend_address_pool_ids       = [azurerm_lb_backend_address_pool.resolvers.id]
  probe_id                       = azurerm_lb_probe.livez.id
}

# Machines

resource "azurerm_network_interface" "namegate" {
  count               = 2
  name                = "namegate-${count.index + 1}"
  location            = data.azurerm_resource_group.namegate.location
  resource_group_name = var.resource_group
  # Overrides the setting of the virtual network: the machines never depend on namegate.
  dns_servers = ["168.63.129.16"]

  ip_configuration {
    name                          = "primary"
    subnet_id                     = azurerm_subnet.resolvers.id
    private_ip_address_allocation = "Static"
    private_ip_address            = local.addresses[count.index]
  }
}

resource "azurerm_network_interface_backend_address_pool_association" "namegate" {
  count                   = 2
  network_interface_id    = azurerm_network_interface.namegate[count.index].id
  ip_configuration_name   = "primary"
  backend_address_pool_id = azurerm_lb_backend_address_pool.resolvers.id
}

resource "azurerm_linux_virtual_machine" "namegate" {
  count                 = 2
  name                  = "namegate-${count.index + 1}"
  location              = data.azurerm_resource_group.namegate.location
  resource_group_name   = var.resource_group
  zone                  = tostring(count.index + 1)
  size                  = var.vm_size
  network_interface_ids = [azurerm_network_interface.namegate[count.index].id]

  admin_username                  = "azureuser"
  disable_password_authentication = true
  secure_boot_enabled             = true
  vtpm_enabled                    = true
  patch_mode                      = "AutomaticByPlatform"
  patch_assessment_mode           = "AutomaticByPlatform"

  custom_data = base64encode(templatefile("${path.module}/../azure/cloud-init.yaml", {
    deb_url    = var.deb_url
    deb_sha256 = var.deb_sha256
    settings = base64encode(templatefile("${path.module}/../azure/namegate.toml", {
      address     = local.addresses[count.index]
      policy_mode = var.policy_mode
      allowlists  = jsonencode(var.allowlists)
      allow       = jsonencode(var.allow)
    }))
  }))

  admin_ssh_key {
    username   = "azureuser"
    public_key = var.ssh_public_key
  }
  identity {
    type = "SystemAssigned"
  }
  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
  }
  source_image_reference {
    publisher = "Canonical"
    offer     = "ubuntu-24_04-lts"
    sku       = "server"
    version   = "latest"
  }

  # A change would replace both machines at once. To replace one at a time:
  # terraform apply -replace='azurerm_linux_virtual_machine.namegate[0]'
  lifecycle {
    ignore_changes = [custom_data]
  }

  # The machine installs packages when it starts: the way out must be there.
  depends_on = [
    azurerm_subnet_network_security_group_association.resolvers,
    azurerm_nat_gateway_public_ip_association.namegate,
    azurerm_subnet_nat_gateway_association.resolvers,
    azurerm_subnet_route_table_association.resolvers,
  ]
}

# Query log

resource "azurerm_virtual_machine_extension" "agent" {
  count                      = local.has_logs ? 2 : 0
  name                       = "AzureMonitorLinuxAgent"
  virtual_machine_id         = azurerm_linux_virtual_machine.namegate[count.index].id
  publisher                  = "Microsoft.Azure.Monitor"
  type                       = "AzureMonitorLinuxAgent"
  type_handler_version       = "1.33"
  auto_upgrade_minor_version = true
  automatic_upgrade_enabled  = true
}

resource "azurerm_resource_group_template_deployment" "logs" {
  count               = local.has_logs ? 1 : 0
  name                = "namegate-logs"
  resource_group_name = var.resource_group
  deployment_mode     = "Incremental"
  template_content    = file("${path.module}/../../config/logging/azure-monitor.json")
  parameters_content  = jsonencode({ workspace = { value = var.log_workspace } })
}

resource "azurerm_monitor_data_collection_rule_association" "namegate" {
  count                   = local.has_logs ? 2 : 0
  name                    = "namegate"
  target_resource_id      = azurerm_linux_virtual_machine.namegate[count.index].id
  data_collection_rule_id = "${data.azurerm_resource_group.namegate.id}/providers/Microsoft.Insights/dataCollectionRules/namegate-queries"
  depends_on              = [azurerm_resource_group_template_deployment.logs]
}
