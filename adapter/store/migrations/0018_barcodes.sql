-- Runs with programs from schema version 10 on.
-- Barcodes that are not the numbers of their cards: an import asks which card has one already. Others are found by
-- the number.
CREATE INDEX cards_barcode ON koshelek.cards (barcode_number) WHERE barcode_number <> number;
