-- Who reads Gold reads Gold alone, also what is added to it; and nobody makes objects but the owner.

ALTER DEFAULT PRIVILEGES IN SCHEMA gold GRANT SELECT ON TABLES TO lakehouse_read, lakehouse_app;
REVOKE ALL ON SCHEMA lake, store FROM PUBLIC, lakehouse_read;
REVOKE CREATE ON SCHEMA public, lake, gold, store FROM PUBLIC, lakehouse_app, lakehouse_read;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, lakehouse_read;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC, lakehouse_read;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO lakehouse_app;
