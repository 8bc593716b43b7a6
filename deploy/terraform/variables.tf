# As the parameters of deploy/azure/azuredeploy.json, and the resource group, which there belongs to the deployment.

variable "resource_group" {
  description = "Name of an existing resource group in a region with availability zones."
  type        = string
}

variable "deb_url" {
  description = "HTTPS URL of the package, namegate_VERSION_amd64.deb. Both machines must reach it."
  type        = string
  validation {
    condition     = can(regex("^https://[^\\s'$]+$", var.deb_url))
    error_message = "Set an HTTPS URL without blanks, quotes and dollar signs."
  }
}

variable "deb_sha256" {
  description = "SHA-256 of the package, in lower-case hexadecimal. A machine installs no other file."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.deb_sha256))
    error_message = "Set the 64 hexadecimal digits that `sha256sum` prints."
  }
}

variable "ssh_public_key" {
  description = "SSH public key of the user azureuser."
  type        = string
}

variable "admin_prefix" {
  description = "Subnet of the administrators and of Prometheus, such as 10.0.1.0/24: reaches SSH and the admin listener."
  type        = string
}

variable "address_prefix" {
  description = "Address space of the virtual network, /24 or larger. The resolvers get the first /27, clients the second /25."
  type        = string
  default     = "10.53.0.0/24"
}

variable "allowlists" {
  description = "policy.zones: shipped allowlists."
  type        = list(string)
  default     = ["azure-ml", "sign-in", "python", "r", "ubuntu"]
}

variable "allow" {
  description = "policy.allow: more names, such as mirror.corp.example or *.artifacts.corp.example."
  type        = list(string)
  default     = []
}

variable "policy_mode" {
  description = "policy.mode: observe forwards and logs the names that enforce would block."
  type        = string
  default     = "observe"
  validation {
    condition     = contains(["observe", "enforce"], var.policy_mode)
    error_message = "Set observe or enforce."
  }
}

variable "log_workspace" {
  description = "Log Analytics workspace for the query log, in this resource group. Empty: the log stays on the machines."
  type        = string
  default     = ""
}

variable "route_table_id" {
  description = "Resource ID of the route table that leads the resolvers to a firewall. Empty: a NAT gateway is created."
  type        = string
  default     = ""
}

variable "vm_size" {
  description = "Size of the machines: x86-64, and available in zones 1 and 2."
  type        = string
  default     = "Standard_D2s_v5"
}
