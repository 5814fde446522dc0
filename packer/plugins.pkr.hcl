# What current packers fetch by `packer init`. In a file of its own, because Debian's 1.6.6 has the plugin built in and
# does not know the block.
packer {
  required_version = ">= 1.7.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.3"
    }
  }
}
