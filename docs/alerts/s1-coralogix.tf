# Alerts on what s1-coralogix says of itself; docs/ALERTS.md explains each.
#
#   terraform init && CORALOGIX_API_KEY=... CORALOGIX_ENV=EU2 terraform apply -var 'recipients=["soc@example.com"]'
#
# The heartbeat's interval is taken to be the default, 5 minutes.

terraform {
  required_providers {
    coralogix = {
      source  = "coralogix/coralogix"
      version = "~> 2.0"
    }
  }
}

provider "coralogix" {}

variable "recipients" {
  type        = list(string)
  description = "Who is told, by mail."
}

locals {
  notification_group = {
    webhooks_settings = [{
      notify_on           = "Triggered and Resolved"
      recipients          = var.recipients
      retriggering_period = { minutes = 720 }
    }]
  }
}

resource "coralogix_alert" "heartbeat_missing" {
  name        = "s1-coralogix: a collector is silent"
  description = "No heartbeat for half an hour: the box, its network or the collector is down. Records wait at SentinelOne and in the queue."
  priority    = "P2"
  group_by    = ["collector.host"]

  type_definition = {
    logs_threshold = {
      logs_filter = {
        simple_filter = { lucene_query = "collector.type:\"heartbeat\"" }
      }
      rules = [{
        condition = { condition_type = "LESS_THAN", threshold = 1, time_window = "30_MINUTES" }
        override  = { priority = "P2" }
      }]
      undetected_values_management = {
        trigger_undetected_values = true
        auto_retire_timeframe     = "24_HOURS"
      }
    }
  }

  notification_group = local.notification_group
}

resource "coralogix_alert" "token_ends" {
  name        = "s1-coralogix: a SentinelOne token ends within 7 days"
  description = "Create a new API token and put it into the token file; no restart is needed."
  priority    = "P3"
  group_by    = ["collector.host"]

  type_definition = {
    logs_threshold = {
      logs_filter = {
        simple_filter = { lucene_query = "collector.type:\"heartbeat\" AND collector.token_days_left:[* TO 6]" }
      }
      rules = [{
        condition = { condition_type = "MORE_THAN", threshold = 0, time_window = "1_HOUR" }
        override  = { priority = "P3" }
      }]
    }
  }

  notification_group = local.notification_group
}

resource "coralogix_alert" "backlog" {
  name        = "s1-coralogix: records are late by more than an hour"
  description = "Three heartbeats in half an hour told of a record in the queue that is older than an hour. A first start that collects history does that too, and ends by itself."
  priority    = "P3"
  group_by    = ["collector.host"]

  type_definition = {
    logs_threshold = {
      logs_filter = {
        simple_filter = { lucene_query = "collector.type:\"heartbeat\" AND collector.queue.oldest_age_seconds:[3600 TO *]" }
      }
      rules = [{
        condition = { condition_type = "MORE_THAN", threshold = 2, time_window = "30_MINUTES" }
        override  = { priority = "P3" }
      }]
    }
  }

  notification_group = local.notification_group
}

resource "coralogix_alert" "gap" {
  name        = "s1-coralogix: a gap was noted"
  description = "Records may be missing: refused by Coralogix, deleted by SentinelOne before they could be read, or thrown away by a person."
  priority    = "P2"

  type_definition = {
    logs_immediate = {
      logs_filter = {
        simple_filter = { lucene_query = "collector.type:\"gap\" AND collector.closed:false" }
      }
    }
  }

  notification_group = local.notification_group
}
