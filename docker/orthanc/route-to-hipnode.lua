-- For Orthanc: send every radiograph that arrives to hipnode, as it arrives.
-- Name this file under "LuaScripts" in Orthanc's settings, and hipnode under "DicomModalities".

local radiographs = { CR = true, DX = true }

function OnStoredInstance(instanceId, tags, metadata, origin)
   -- What hipnode itself has sent (reports, heat maps) must not go back to it.
   if radiographs[tags['Modality']] and origin['RemoteAet'] ~= 'HIPNODE' then
      SendToModality(instanceId, 'hipnode')
   end
end
