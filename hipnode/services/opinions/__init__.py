"""Whether the node was right, as it comes by itself: final reports by HL7, assessments by DICOM."""
