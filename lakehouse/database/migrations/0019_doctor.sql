-- `lakehouse doctor` compares what was applied with what there is, also where it knows the app's address only.
GRANT SELECT ON public.lakehouse_migration TO lakehouse_app;
