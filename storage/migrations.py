"""The tables of the store, and how an older store becomes a newer one: one numbered step after another, each a transaction.

Times are integer microseconds since 1970 (UTC), money is integer nano-dollars, booleans are 0 or 1, ids are text.
The statements keep to what SQLite and PostgreSQL-compatible engines share (BIGINT, TEXT, `?` placeholders, ON CONFLICT, RETURNING).
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        # --- the ledger: one row a call -----------------------------------------------------------------------------
        """CREATE TABLE calls (
            id TEXT PRIMARY KEY,
            started_at BIGINT NOT NULL,
            first_byte_at BIGINT,
            ended_at BIGINT,
            state TEXT NOT NULL,
            ending TEXT,
            verdict TEXT NOT NULL,
            rule_id TEXT,
            door TEXT NOT NULL,
            provider TEXT NOT NULL,
            service TEXT NOT NULL,
            operation TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            wire_format TEXT,
            method TEXT NOT NULL,
            host TEXT NOT NULL,
            path TEXT NOT NULL,
            request_model TEXT,
            response_model TEXT,
            streamed BIGINT NOT NULL,
            status BIGINT,
            "user" TEXT,
            department TEXT,
            agent TEXT,
            key_id TEXT,
            request_bytes BIGINT NOT NULL,
            response_bytes BIGINT,
            estimated_input_tokens BIGINT,
            input_tokens BIGINT,
            output_tokens BIGINT,
            cache_read_tokens BIGINT,
            cache_write_tokens BIGINT,
            cache_write_1h_tokens BIGINT,
            reasoning_tokens BIGINT,
            cost_nano BIGINT,
            floor_nano BIGINT,
            ceiling_nano BIGINT,
            our_cost_nano BIGINT,
            source TEXT,
            price_source TEXT,
            price_version TEXT,
            units TEXT,
            job TEXT,
            hold_nano BIGINT NOT NULL,
            holds TEXT,
            instance TEXT NOT NULL
        )""",
        # No index on started_at: ids are ordered by time. `holds` (JSON) is what an open call holds of budgets, NULL once it is settled.
        # Each index more is a page more in every commit.
        "CREATE INDEX calls_open ON calls (state) WHERE state = 'intent'",
        "CREATE INDEX calls_jobs ON calls (id) WHERE job IS NOT NULL",
        # --- rollups: what each hour's calls came to, by all that spending is asked by. They outlive the calls; '' is "none" ------
        """CREATE TABLE spend_hours (
            hour BIGINT NOT NULL,
            provider TEXT NOT NULL,
            model TEXT NOT NULL,
            service TEXT NOT NULL,
            "user" TEXT NOT NULL,
            department TEXT NOT NULL,
            source TEXT NOT NULL,
            calls BIGINT NOT NULL,
            refused_calls BIGINT NOT NULL,
            cost_nano BIGINT NOT NULL,
            floor_nano BIGINT NOT NULL,
            ceiling_nano BIGINT NOT NULL,
            unknown_calls BIGINT NOT NULL,
            unknown_hold_nano BIGINT NOT NULL,
            input_tokens BIGINT NOT NULL,
            output_tokens BIGINT NOT NULL,
            cache_read_tokens BIGINT NOT NULL,
            cache_write_tokens BIGINT NOT NULL,
            PRIMARY KEY (hour, provider, model, service, "user", department, source)
        )""",
        # The days are a view: they cannot differ from their hours.
        """CREATE VIEW spend_days AS
            SELECT hour - hour % 86400000000 AS day, provider, model, service, "user", department, source,
                SUM(calls) AS calls, SUM(refused_calls) AS refused_calls, SUM(cost_nano) AS cost_nano, SUM(floor_nano) AS floor_nano,
                SUM(ceiling_nano) AS ceiling_nano, SUM(unknown_calls) AS unknown_calls, SUM(unknown_hold_nano) AS unknown_hold_nano,
                SUM(input_tokens) AS input_tokens, SUM(output_tokens) AS output_tokens,
                SUM(cache_read_tokens) AS cache_read_tokens, SUM(cache_write_tokens) AS cache_write_tokens
            FROM spend_hours GROUP BY 1, provider, model, service, "user", department, source""",
        # --- budgets: what is spent and held in each period, and every step that led there ---------------------------
        """CREATE TABLE budget_periods (
            budget_id TEXT NOT NULL,
            starts_at BIGINT NOT NULL,
            ends_at BIGINT NOT NULL,
            spent BIGINT NOT NULL,
            held BIGINT NOT NULL,
            PRIMARY KEY (budget_id, starts_at)
        )""",
        """CREATE TABLE budget_history (
            seq INTEGER PRIMARY KEY,
            at BIGINT NOT NULL,
            call_id TEXT,
            budget_id TEXT NOT NULL,
            starts_at BIGINT NOT NULL,
            event TEXT NOT NULL,
            amount BIGINT NOT NULL,
            spent BIGINT NOT NULL,
            held BIGINT NOT NULL,
            "limit" BIGINT NOT NULL
        )""",
        # --- alerts: episodes, their history, the detections under them ----------------------------------------------
        """CREATE TABLE alerts (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            org_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            severity TEXT NOT NULL,
            title TEXT NOT NULL,
            message TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            subject TEXT NOT NULL,
            action TEXT NOT NULL,
            evidence TEXT NOT NULL,
            metadata TEXT NOT NULL,
            occurrence_count BIGINT NOT NULL,
            first_seen_at BIGINT NOT NULL,
            last_seen_at BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL,
            viewed_at BIGINT,
            acknowledged_at BIGINT,
            acknowledged_by TEXT,
            dismissed_at BIGINT,
            resolved_at BIGINT,
            resolved_by TEXT,
            resolution TEXT,
            resolution_note TEXT,
            expires_at BIGINT
        )""",
        "CREATE UNIQUE INDEX alerts_episode ON alerts (fingerprint) WHERE resolved_at IS NULL",
        "CREATE INDEX alerts_created ON alerts (created_at, seq)",
        "CREATE INDEX alerts_kind ON alerts (kind, seq)",
        "CREATE INDEX alerts_open ON alerts (seq) WHERE resolved_at IS NULL",
        """CREATE TABLE alert_mutes (
            fingerprint TEXT PRIMARY KEY,
            alert_seq BIGINT NOT NULL,
            since_at BIGINT NOT NULL,
            quiet_since_at BIGINT NOT NULL
        )""",
        """CREATE TABLE alert_history (
            seq INTEGER PRIMARY KEY,
            alert_seq BIGINT NOT NULL,
            at BIGINT NOT NULL,
            event TEXT NOT NULL,
            actor TEXT NOT NULL,
            feed TEXT,
            note TEXT
        )""",
        "CREATE INDEX alert_history_alert ON alert_history (alert_seq, seq)",
        """CREATE TABLE detections (
            id TEXT PRIMARY KEY,
            alert_seq BIGINT NOT NULL,
            call_id TEXT,
            detected_at BIGINT NOT NULL,
            action TEXT NOT NULL,
            message TEXT NOT NULL,
            evidence TEXT NOT NULL
        )""",
        "CREATE INDEX detections_alert ON detections (alert_seq, detected_at)",
        """CREATE TABLE alert_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)""",
        # --- baselines: the prompt fingerprint that is normal for a service -------------------------------------------
        """CREATE TABLE baselines (
            service TEXT NOT NULL,
            agent TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            first_seen_at BIGINT NOT NULL,
            approved_at BIGINT,
            approved_by TEXT,
            PRIMARY KEY (service, agent, fingerprint)
        )""",
        # --- access: the password, API tokens, sessions. Only hashes are kept -----------------------------------------
        """CREATE TABLE api_tokens (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            hash TEXT NOT NULL UNIQUE,
            scopes TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT,
            revoked_at BIGINT,
            last_used_at BIGINT
        )""",
        """CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            hash TEXT NOT NULL UNIQUE,
            created_at BIGINT NOT NULL,
            last_used_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )""",
        """CREATE TABLE audit (
            seq INTEGER PRIMARY KEY,
            at BIGINT NOT NULL,
            actor TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL
        )""",
    ),
    (
        # What a provider's model makes of a text that is counted by o200k_base: the last ratios and constants, as JSON.
        """CREATE TABLE token_factors (
            provider TEXT NOT NULL,
            model TEXT NOT NULL,
            samples BIGINT NOT NULL,
            factors TEXT NOT NULL,
            updated_at BIGINT NOT NULL,
            PRIMARY KEY (provider, model)
        )""",
    ),
    (
        # Who is, or was, locked out. `field` says by what the caller is known: user or key_id.
        """CREATE TABLE lockouts (
            field TEXT NOT NULL,
            name TEXT NOT NULL,
            locked_at BIGINT NOT NULL,
            locked_by TEXT NOT NULL,
            reason TEXT NOT NULL,
            released_at BIGINT,
            released_by TEXT,
            PRIMARY KEY (field, name)
        )""",
    ),
    (
        # Rules that were made while the gateway ran; those of the config file are not here. `definition` is JSON.
        """CREATE TABLE rules (
            id TEXT PRIMARY KEY,
            seq BIGINT NOT NULL,
            definition TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            created_by TEXT NOT NULL,
            updated_at BIGINT NOT NULL,
            updated_by TEXT NOT NULL
        )""",
        # How often each rule was tested and with what outcome, by day (UTC midnight).
        """CREATE TABLE rule_counts (
            rule_id TEXT NOT NULL,
            day BIGINT NOT NULL,
            outcome TEXT NOT NULL,
            evaluations BIGINT NOT NULL,
            last_at BIGINT NOT NULL,
            PRIMARY KEY (rule_id, day, outcome)
        )""",
    ),
    (
        # What each budget was charged by the hour, from its history: outlives it, for forecasts.
        """CREATE TABLE budget_hours (
            budget_id TEXT NOT NULL,
            hour BIGINT NOT NULL,
            amount BIGINT NOT NULL,
            calls BIGINT NOT NULL,
            PRIMARY KEY (budget_id, hour)
        )""",
    ),
    (
        # What is remembered of each rule (`score` is of `measured_at`), and the conditions of rules that hold and are alerted.
        """CREATE TABLE rule_records (
            rule_id TEXT PRIMARY KEY,
            digest TEXT NOT NULL,
            enabled BIGINT NOT NULL,
            enabled_at BIGINT NOT NULL,
            changed_at BIGINT NOT NULL,
            measured_at BIGINT,
            score BIGINT
        )""",
        """CREATE TABLE rule_conditions (
            fingerprint TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            rule_id TEXT NOT NULL,
            since_at BIGINT NOT NULL,
            detail TEXT NOT NULL
        )""",
    ),
    (
        # What calls took beyond their holds: on the row (dollars), in the budget's period and in each step of its history (its unit).
        "ALTER TABLE calls ADD COLUMN overshoot_nano BIGINT",
        "ALTER TABLE budget_periods ADD COLUMN overshoot BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE budget_history ADD COLUMN overshoot BIGINT NOT NULL DEFAULT 0",
    ),
    (
        # The client certificates that were issued, by serial number (hex). `field` says what `name` is: user or service.
        """CREATE TABLE client_certificates (
            serial TEXT PRIMARY KEY,
            field TEXT NOT NULL,
            name TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            issued_at BIGINT NOT NULL,
            not_after BIGINT NOT NULL,
            revoked_at BIGINT,
            revoked_by TEXT
        )""",
    ),
    (
        # The definition of a tool that is normal for a service and agent, by its keyed fingerprint.
        """CREATE TABLE tool_baselines (
            service TEXT NOT NULL,
            agent TEXT NOT NULL,
            tool TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            first_seen_at BIGINT NOT NULL,
            approved_at BIGINT,
            approved_by TEXT,
            PRIMARY KEY (service, agent, tool, fingerprint)
        )""",
    ),
    (
        # What back-tests go by: the most that a call's prompt can have where it was not counted, and the most tokens that it could use.
        "ALTER TABLE calls ADD COLUMN input_tokens_bound BIGINT",
        "ALTER TABLE calls ADD COLUMN hold_tokens BIGINT NOT NULL DEFAULT 0",
    ),
    (
        # The transactions for a blockchain that each on-chain rule let through, as long as they count. `value` is wei: more than 64 bits.
        """CREATE TABLE onchain_sent (
            rule_id TEXT NOT NULL,
            digest TEXT NOT NULL,
            at BIGINT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (rule_id, digest)
        )""",
    ),
    (
        # What is to be told outside of changes of alerts: one row for each who is told. `next_at` is null once it needs no attempt more.
        """CREATE TABLE deliveries (
            seq INTEGER PRIMARY KEY,
            event_id TEXT NOT NULL,
            event TEXT NOT NULL,
            channel TEXT NOT NULL,
            target TEXT NOT NULL,
            alert_seq BIGINT,
            body TEXT NOT NULL,
            state TEXT NOT NULL,
            attempts BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            next_at BIGINT,
            last_at BIGINT,
            last_status BIGINT,
            last_error TEXT
        )""",
        "CREATE INDEX deliveries_due ON deliveries (channel, target, next_at) WHERE state = 'pending'",
        "CREATE INDEX deliveries_target ON deliveries (channel, target, seq)",
    ),
    (
        # What entries need of a detection: what it is (the alert's kind), where (place, line), how long it and what it blocked lasted.
        # `due`: 1 new, 2 its call still runs, 0 complete. `held`: 1 while what it blocked may still be held, until `held_until`.
        "ALTER TABLE detections ADD COLUMN kind TEXT",
        "ALTER TABLE detections ADD COLUMN place TEXT",
        "ALTER TABLE detections ADD COLUMN line TEXT",
        "ALTER TABLE detections ADD COLUMN duration BIGINT",
        "ALTER TABLE detections ADD COLUMN held_until BIGINT",
        "ALTER TABLE detections ADD COLUMN held BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE detections ADD COLUMN muted BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE detections ADD COLUMN due BIGINT NOT NULL DEFAULT 1",
        "ALTER TABLE detections ADD COLUMN updated_at BIGINT",
        "CREATE INDEX detections_due ON detections (due, detected_at, id) WHERE due > 0",
        "CREATE INDEX detections_held ON detections (held_until) WHERE held = 1",
        "CREATE INDEX detections_detected ON detections (detected_at, id)",
        "CREATE INDEX detections_updated ON detections (updated_at)",
        # The places that detections were made at.
        "CREATE TABLE places (name TEXT PRIMARY KEY, seen_at BIGINT NOT NULL)",
        # Which detections become entries, and when. `definition` is JSON. One that is gone stays, for the entries made by it.
        """CREATE TABLE entry_configs (
            id TEXT PRIMARY KEY,
            seq BIGINT NOT NULL,
            origin TEXT NOT NULL,
            definition TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL,
            deleted_at BIGINT
        )""",
        # No entries of a config at a place, or ('') at none.
        """CREATE TABLE entry_silences (
            config_id TEXT NOT NULL,
            place TEXT NOT NULL,
            since_at BIGINT NOT NULL,
            until_at BIGINT NOT NULL,
            PRIMARY KEY (config_id, place)
        )""",
        # Entries: groups of detections, by config and place. `created_at` is from the clock below, so no two share it, and what is
        # committed later has a later one: whoever asks for those after the last one seen misses none.
        """CREATE TABLE entries (
            id TEXT PRIMARY KEY,
            config_id TEXT NOT NULL,
            place TEXT NOT NULL,
            title TEXT NOT NULL,
            created_at BIGINT NOT NULL UNIQUE,
            updated_at BIGINT NOT NULL,
            first_event_at BIGINT NOT NULL,
            last_event_at BIGINT NOT NULL,
            event_count BIGINT NOT NULL,
            viewed_at BIGINT,
            acknowledged_at BIGINT,
            acted_at BIGINT,
            action_taken TEXT,
            root_cause_set_at BIGINT,
            root_cause TEXT,
            dismissed_at BIGINT
        )""",
        "CREATE INDEX entries_place ON entries (config_id, place, last_event_at)",
        """CREATE TABLE entry_events (
            config_id TEXT NOT NULL,
            detection_id TEXT NOT NULL,
            entry_id TEXT NOT NULL,
            detected_at BIGINT NOT NULL,
            PRIMARY KEY (config_id, detection_id)
        )""",
        "CREATE INDEX entry_events_entry ON entry_events (entry_id, detected_at, detection_id)",
        """CREATE TABLE entry_alerts (
            entry_id TEXT NOT NULL,
            alert_seq BIGINT NOT NULL,
            PRIMARY KEY (entry_id, alert_seq)
        )""",
        # Detections that are too few to make an entry yet, as JSON.
        """CREATE TABLE entry_waiting (
            config_id TEXT NOT NULL,
            place TEXT NOT NULL,
            last_at BIGINT NOT NULL,
            events TEXT NOT NULL,
            PRIMARY KEY (config_id, place)
        )""",
        # The last moment that was given to a detection or an entry. Whoever writes either takes it first, and so comes one after another.
        "CREATE TABLE entry_clock (at BIGINT NOT NULL)",
        "INSERT INTO entry_clock (at) VALUES (0)",
    ),
    (
        # How each hour's calls were answered (failed; answered well, and how long that took), and where they went.
        "ALTER TABLE spend_hours ADD COLUMN error_calls BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE spend_hours ADD COLUMN timed_calls BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE spend_hours ADD COLUMN timed_micros BIGINT NOT NULL DEFAULT 0",
        """CREATE TABLE endpoint_hours (
            hour BIGINT NOT NULL,
            host TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            PRIMARY KEY (hour, host, endpoint)
        )""",
        # Usage alerts, as JSON in `definition`. From `armed_at` on they are evaluated: made, enabled or changed then.
        """CREATE TABLE usage_alerts (
            id TEXT PRIMARY KEY,
            origin TEXT NOT NULL,
            definition TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL,
            armed_at BIGINT NOT NULL
        )""",
        # That a usage alert fired in a bucket of its calendar: once, whatever becomes of it and of the alert that it raised.
        """CREATE TABLE usage_triggers (
            usage_alert_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            period TEXT NOT NULL,
            bucket BIGINT NOT NULL,
            triggered_at BIGINT NOT NULL,
            value DOUBLE PRECISION NOT NULL,
            alert_seq BIGINT,
            PRIMARY KEY (usage_alert_id, kind, period, bucket)
        )""",
        "CREATE INDEX usage_triggers_moment ON usage_triggers (usage_alert_id, triggered_at)",
    ),
    (
        # Silences that were made while the gateway ran; those of the config file are not here. `matchers` is a JSON list.
        """CREATE TABLE silences (
            id TEXT PRIMARY KEY,
            matchers TEXT NOT NULL,
            starts_at BIGINT NOT NULL,
            ends_at BIGINT NOT NULL,
            created_by TEXT NOT NULL,
            comment TEXT NOT NULL,
            updated_at BIGINT NOT NULL
        )""",
        # The open alerts that hold others back: few, and asked for with each alert that somebody is to be told of.
        """CREATE INDEX alerts_inhibiting ON alerts (kind, subject)
            WHERE resolved_at IS NULL AND kind IN ('budget_exceeded', 'user_locked_out')""",
    ),
    (
        # What API tokens were exchanged for: only the hash of each access token. It is good while its API token is.
        """CREATE TABLE access_tokens (
            id TEXT PRIMARY KEY,
            hash TEXT NOT NULL UNIQUE,
            token_id TEXT NOT NULL,
            scopes TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )""",
        "CREATE INDEX access_tokens_token ON access_tokens (token_id, created_at)",
    ),
    (
        # What is normal: prompts and definitions of tools in one table, with what is known of the shape of each (JSON).
        "ALTER TABLE baselines RENAME TO prompt_baselines",
        """CREATE TABLE baselines (
            part TEXT NOT NULL,
            service TEXT NOT NULL,
            agent TEXT NOT NULL,
            name TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            first_seen_at BIGINT NOT NULL,
            approved_at BIGINT,
            approved_by TEXT,
            shape TEXT,
            PRIMARY KEY (part, service, agent, name, fingerprint)
        )""",
        """INSERT INTO baselines (part, service, agent, name, fingerprint, first_seen_at, approved_at, approved_by)
            SELECT 'prompt', service, agent, '', fingerprint, first_seen_at, approved_at, approved_by FROM prompt_baselines""",
        """INSERT INTO baselines (part, service, agent, name, fingerprint, first_seen_at, approved_at, approved_by)
            SELECT 'tool', service, agent, tool, fingerprint, first_seen_at, approved_at, approved_by FROM tool_baselines""",
        "DROP TABLE prompt_baselines",
        "DROP TABLE tool_baselines",
    ),
    (
        # Webhooks that were made through the API. `secret` is sealed under a key that is not in the store.
        """CREATE TABLE webhooks (
            id TEXT PRIMARY KEY,
            url TEXT NOT NULL,
            events TEXT NOT NULL,
            description TEXT,
            enabled BIGINT NOT NULL,
            disabled_reason TEXT,
            created_at BIGINT NOT NULL,
            created_by TEXT NOT NULL,
            updated_at BIGINT NOT NULL,
            secret TEXT NOT NULL,
            earlier_secret TEXT,
            earlier_until BIGINT
        )""",
        # Deliveries about alerts that are held back, or that ended while they were.
        "CREATE INDEX deliveries_held ON deliveries (alert_seq) WHERE state IN ('held', 'dropped')",
    ),
    (
        # Where alerts about rules are sent, as policy authors set it up. `actions` is JSON: the receivers, and why one is told no more.
        """CREATE TABLE gateway_policies (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            pattern TEXT NOT NULL,
            actions TEXT NOT NULL,
            enabled BIGINT NOT NULL,
            secret TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            created_by TEXT NOT NULL
        )""",
    ),
    (
        # When the count of an alert was last raised, in the order of all raises: the history has no row of these.
        "CREATE TABLE alert_raises (alert_seq BIGINT PRIMARY KEY, position BIGINT NOT NULL)",
        "CREATE UNIQUE INDEX alert_raises_position ON alert_raises (position)",
    ),
    (
        # The messages of integrations that were taken lately, so that each counts once; the alert that it was about, if any.
        """CREATE TABLE hook_messages (
            hook TEXT NOT NULL,
            message_id TEXT NOT NULL,
            received_at BIGINT NOT NULL,
            alert_seq BIGINT,
            PRIMARY KEY (hook, message_id)
        )""",
        "CREATE INDEX hook_messages_age ON hook_messages (received_at)",
    ),
    (
        # What lists of alerts are read by: the newest of each kind and severity, of all and of each status (an alert is in one of these),
        # so that a page costs the same however many alerts there are.
        "DROP INDEX alerts_kind",
        "DROP INDEX alerts_created",
        "CREATE INDEX alerts_listed ON alerts (kind, severity, seq)",
        "CREATE INDEX alerts_listed_open ON alerts (kind, severity, seq) WHERE resolved_at IS NULL AND acknowledged_at IS NULL",
        "CREATE INDEX alerts_listed_acknowledged ON alerts (kind, severity, seq) WHERE resolved_at IS NULL AND acknowledged_at IS NOT NULL",
        "CREATE INDEX alerts_listed_resolved ON alerts (kind, severity, seq) WHERE resolved_at IS NOT NULL",
        "CREATE INDEX alerts_listed_blocked ON alerts (kind, severity, seq) WHERE action IN ('blocked')",
    ),
    (
        # What back-tests of budgets go by: the numbers of a call's intent and of its settlement in the order of all steps of the ledger,
        # the terms on which it was let through, what its prompt was counted to where the bound had no room, what its stream was granted
        # as it ran (number:asked:granted), and the tokens that it was charged where its other columns do not tell.
        "ALTER TABLE calls ADD COLUMN admitted_seq BIGINT",
        "ALTER TABLE calls ADD COLUMN settled_seq BIGINT",
        "ALTER TABLE calls ADD COLUMN terms TEXT",
        "ALTER TABLE calls ADD COLUMN counted TEXT",
        "ALTER TABLE calls ADD COLUMN top_ups TEXT",
        "ALTER TABLE calls ADD COLUMN charged_tokens BIGINT",
    ),
)
