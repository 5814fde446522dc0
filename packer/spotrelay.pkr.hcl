# The image: a stock base, and what packer/install.sh makes of it. One template for all bases; a base is a variable.
#
#   packer init packer && packer build -var commit=$(git rev-parse HEAD) packer         Debian 12, in us-east-1
#   … -var base=gpu -var 'copy_to=["eu-west-1"]' …
#
# It takes packer 1.7 or newer, bash, git and a Python of 3.11. Debian's own packer is 1.6.6: for that one take out the
# lines that end with "since 1.7", and name the file that is left, with -var root=CHECKOUT, instead of the folder.

variable "commit" {
  type        = string
  description = "What is inside, for the image's tags: git rev-parse HEAD. Held against what is really built."
}

variable "base" {
  type        = string
  default     = "debian-12"
  description = "Which of the bases below."
}

variable "base_name" {
  type        = string
  default     = ""
  description = "The base image's exact name, for a build that can be repeated. By default the newest that fits."
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "copy_to" {
  type        = list(string)
  default     = []
  description = "More regions that shall have the image."
}

variable "kms_key_id" {
  type        = string
  default     = ""
  description = "Encrypts the image; by default the account's own key for volumes."
}

variable "instance_type" {
  type        = string
  default     = ""
  description = "On which it is built. By default what the base needs."
}

variable "environment" {
  type        = list(string)
  default     = []
  description = "For the installation, NAME=value: PIP_INDEX_URL=… where there is an index of your own."
}

variable "root" {
  type        = string
  default     = ""
  description = "The checkout, where this file lies somewhere else."
}

variable "ec2_endpoint" {
  type        = string
  default     = ""
  description = "Another EC2 than Amazon's, for tests."
}

variable "ssh_host" {
  type        = string
  default     = ""
  description = "Another address than the instance's, for tests. With ssh_key and ssh_keypair."
}

variable "ssh_key" {
  type    = string
  default = ""
}

variable "ssh_keypair" {
  type    = string
  default = ""
}

# The one list of pins: whose images, by which name, how one logs in, and where its root disk is.
locals {
  bases = {
    "debian-12" = {
      owner = "136693071363", name = "debian-12-amd64-*", user = "admin", disk = "/dev/xvda", gib = 8, type = "m6i.large"
    }
    "debian-13" = {
      owner = "136693071363", name = "debian-13-amd64-*", user = "admin", disk = "/dev/xvda", gib = 8, type = "m6i.large"
    }
    "ubuntu-24.04" = {
      owner = "099720109477", name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*", user = "ubuntu",
      disk  = "/dev/sda1", gib = 8, type = "m6i.large"
    }
    "amazon-linux-2023" = {
      owner = "137112412989", name = "al2023-ami-2023.*-x86_64", user = "ec2-user", disk = "/dev/xvda", gib = 8,
      type  = "m6i.large"
    }
    # Drivers and CUDA are Amazon's; so is the size of the disk that they need. It takes no GPU to build on.
    "gpu" = {
      owner = "898082745236", name = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) *", user = "ubuntu",
      disk  = "/dev/sda1", gib = 75, type = "m6i.large"
    }
  }
  base    = local.bases[var.base]
  root    = var.root != "" ? var.root : "${path.root}/.."
  # No regex() in Debian's packer.
  version = split("\"", split("__version__ = \"", file("${local.root}/agent/spotrelay/__init__.py"))[1])[0]
}

source "amazon-ebs" "image" {
  region              = var.region
  custom_endpoint_ec2 = var.ec2_endpoint
  instance_type       = var.instance_type != "" ? var.instance_type : local.base.type

  source_ami_filter {
    owners      = [local.base.owner]
    most_recent = true
    filters = {
      name                = var.base_name != "" ? var.base_name : local.base.name
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # Sessions with a token alone, on the machine that builds and on each that boots the image.
  metadata_options {                    # since 1.7
    http_endpoint               = "enabled"  # since 1.7
    http_tokens                 = "required" # since 1.7
    http_put_response_hop_limit = 1          # since 1.7
  }                                     # since 1.7
  imds_support = "v2.0"                 # since 1.7

  launch_block_device_mappings {
    device_name           = local.base.disk
    volume_size           = local.base.gib
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }
  encrypt_boot = true
  kms_key_id   = var.kms_key_id

  communicator              = "ssh"
  ssh_username              = local.base.user
  ssh_host                  = var.ssh_host
  ssh_private_key_file      = var.ssh_key
  ssh_keypair_name          = var.ssh_keypair
  ssh_clear_authorized_keys = true
  shutdown_behavior         = "terminate"

  ami_name        = "spotrelay-${var.base}-{{isotime \"20060102-150405\"}}"
  ami_description = "spotrelay's agent on ${var.base}"
  ami_regions     = var.copy_to
  tags = {
    Name                = "spotrelay-${var.base}"
    "spotrelay:base"    = "{{ .SourceAMIName }}"
    "spotrelay:commit"  = var.commit
    "spotrelay:version" = local.version
  }
  run_tags      = { Name = "spotrelay image build" }
  snapshot_tags = { Name = "spotrelay-${var.base}" }
}

build {
  sources = ["source.amazon-ebs.image"]

  # The same file that scripts/bootstrap takes: what an image has and what a stock machine gets are one thing.
  provisioner "shell-local" {
    inline = [
      "set -e",
      "${local.root}/scripts/bundle ${local.root}/dist",
      "found=$(tar -xzOf ${local.root}/dist/spotrelay-bundle.tar.gz ./COMMIT)",
      "[ \"$found\" = ${var.commit} ] || { echo \"this checkout is $found\"; exit 1; }",
    ]
  }
  provisioner "file" {
    source      = "${local.root}/dist/spotrelay-bundle.tar.gz"
    destination = "/tmp/spotrelay-bundle.tar.gz"
    generated   = true
  }
  provisioner "shell" {
    environment_vars = var.environment
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    inline = [
      "set -e",
      "mkdir -p /tmp/spotrelay-bundle",
      "tar -xzf /tmp/spotrelay-bundle.tar.gz -C /tmp/spotrelay-bundle",
      "/tmp/spotrelay-bundle/packer/install.sh",
      "/tmp/spotrelay-bundle/packer/cleanup.sh",
    ]
  }
}
